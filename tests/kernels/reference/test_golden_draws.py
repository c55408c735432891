"""The golden rows: nobody renumbers a site or a counter without this file saying so."""

from pathlib import Path

import numpy as np
import pytest

from bayes_sbn.kernels.reference import sampling
from bayes_sbn.kernels.reference.cdf64 import CDF64
from bayes_sbn.kernels.reference.network import (
    DenseLayer,
    Network,
    draw_network,
    network_thresholds,
    output_dots,
    signs_of_words,
)
from bayes_sbn.philox import fold_stream
from tests.kernels.reference import draw_oracle as oracle

VECTORS = Path(__file__).parents[2] / "vectors" / "draws.txt"


def rows(kind: str) -> list[list[str]]:
    """The fields of the rows of one kind."""
    lines = VECTORS.read_text().splitlines()
    return [line.split()[1:] for line in lines if line.split()[0] == kind]


def golden_network() -> Network:
    """The network of the packed and logits rows."""
    layers = []
    for site, (noise, noise_scale) in enumerate(oracle.GOLDEN_NOISES):
        num_inputs, num_units = oracle.GOLDEN_SIZES[site : site + 2]
        p = [
            [oracle.golden_probability(site, unit, k) for k in range(num_inputs)]
            for unit in range(num_units)
        ]
        layers.append(
            DenseLayer(
                site=site,
                thresholds=sampling.probability_thresholds(np.array(p)),
                scale=np.array([oracle.golden_scale(site, unit) for unit in range(num_units)]),
                bias=np.array([oracle.golden_bias(site, unit) for unit in range(num_units)]),
                noise=noise,
                noise_scale=noise_scale,
            )
        )
    return Network(tuple(layers), oracle.GOLDEN_INPUT_SCALE)


KEY = fold_stream(oracle.GOLDEN_SEED, oracle.GOLDEN_STREAM)
DRAWS = np.array(oracle.GOLDEN_DRAWS, np.int64)


def test_golden_file_is_what_the_definition_says():
    lines = [row for row in VECTORS.read_text().splitlines() if not row.startswith("#")]
    assert lines == list(oracle.golden_rows())


@pytest.mark.parametrize("fields", rows("weight"))
def test_weight_uniforms_are_the_golden_ones(fields):
    seed, stream, draw, site, unit, k = map(int, fields[:-1])
    key = fold_stream(seed, stream)
    planes = sampling.weight_planes(key, site, np.array([draw]), unit + 1, k // 32 + 1)
    bits = [int(plane[0, unit, k // 32]) >> (k % 32) & 1 for plane in planes]
    assert f"{int(''.join(map(str, bits)), 2):08x}" == fields[-1]


@pytest.mark.parametrize("fields", rows("row"))
def test_row_uniforms_are_the_golden_ones(fields):
    seed, stream, draw, site, unit, row = map(int, fields[:-1])
    key = fold_stream(seed, stream)
    u16 = sampling.row_uniforms16(key, site, np.array([draw]), unit + 1, row, 1)[0, 0, unit]
    v32 = sampling.row_uniforms32(key, site, np.array([draw]), np.array([unit]), np.array([row]))[0]
    assert f"{(int(u16) << 32) + int(v32):012x}" == fields[-1]


@pytest.mark.parametrize("fields", rows("shared"))
def test_shared_uniforms_are_the_golden_ones(fields):
    seed, stream, draw, site, unit = map(int, fields[:-1])
    u48 = sampling.shared_uniforms(fold_stream(seed, stream), site, np.array([draw]), unit + 1)
    assert f"{u48[0, unit]:012x}" == fields[-1]


def test_cdf64_values_are_the_golden_ones():
    assert len(rows("cdf")) == 5 * 2 * 11
    for noise, scale, a, value, threshold in rows("cdf"):
        found = CDF64[noise](np.array([float.fromhex(a)]), float.fromhex(scale))
        assert float(found[0]).hex() == value, (noise, scale, a)
        assert f"{int(np.rint(found[0] * 2.0**48)):013x}" == threshold


def test_packed_weights_are_the_golden_ones():
    words = draw_network(golden_network(), KEY, DRAWS)
    found = [
        [str(draw), str(site), *(f"{word:08x}" for word in words[site][i, :, 0])]
        for i, draw in enumerate(oracle.GOLDEN_DRAWS)
        for site in range(3)
    ]
    assert found == rows("packed")


@pytest.mark.parametrize("noise", ["shared", "independent"])
def test_integer_logits_are_the_golden_ones(noise):
    network = golden_network()
    words = draw_network(network, KEY, DRAWS)
    dots = output_dots(
        network,
        [
            signs_of_words(w, layer.num_inputs)
            for w, layer in zip(words, network.layers, strict=True)
        ],
        np.array(oracle.GOLDEN_INPUTS, np.int16),
        key=KEY,
        draws=DRAWS,
        thresholds=network_thresholds(network, KEY, DRAWS) if noise == "shared" else None,
        first_row=oracle.GOLDEN_FIRST_ROW,
    )
    for name, draw, row, *expected in rows("logits"):
        if name == noise:
            found = dots[oracle.GOLDEN_DRAWS.index(int(draw)), int(row)]
            assert found.tolist() == [int(e) for e in expected]
