"""Ensembles by the CUDA kernels, emulated and on a device: the reference's integers."""

import hashlib

import numpy as np
import pytest

from bayes_sbn.kernels.cuda.ensemble import PackedInputs, row_words
from bayes_sbn.kernels.native.ensemble import fits
from bayes_sbn.kernels.reference.network import DenseLayer, Network, Units, draw_network
from bayes_sbn.kernels.reference.sampling import probability_thresholds
from bayes_sbn.philox import fold_stream
from tests.chance import numpy_generator
from tests.kernels.cuda.emulated import COMPILER, EmulatedDevice, build, by_device
from tests.kernels.ensemble_cases import DRAWS, LAWS, by_reference, random_case, random_layer
from tests.kernels.test_ensemble import VECTORS, golden_case

KEY = fold_stream(11, 3)


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("case", range(30))
def test_random_networks_give_the_references_integers(device, case, is_shared):
    network, inputs, key, first_row = random_case(str(case))
    options = {"key": key, "draws": DRAWS, "is_shared": is_shared, "first_row": first_row}
    found = by_device(device, network, inputs, **options)
    assert np.array_equal(found, by_reference(network, inputs, **options))


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("size", [1e7, 1e12])
def test_laws_have_the_references_bits_where_nothing_is_cheap(device, size, law, is_shared):
    """Scale and bias cancel: no bound in single precision holds, and F64 decides alone.

    In single precision a sum of terms of 1e12 may be anything from -1e5 to 1e5.
    """
    g = numpy_generator(f"cancel/{law}")
    units, inputs = 400, 33
    scale = size * g.choice([-1, 1], units) * g.random(units)
    near = 3 * g.normal(size=units)
    first = DenseLayer(
        0, probability_thresholds(np.ones((units, inputs))), scale, near - scale * inputs, law, 1.3
    )
    network = Network((first, random_layer(1, units, 2, None, g)), 1.0)
    x = np.ones((2, inputs), np.int16)  # the second row is one step away: deep in the tails
    x[1, 0] = -1
    for rows in (x, np.concatenate([x, 3 * x])):  # ±1 in bits, and numbers
        options = {"key": KEY, "draws": DRAWS, "is_shared": is_shared, "first_row": 7}
        found = by_device(device, network, rows, **options)
        wanted = by_reference(network, rows, **options)
        assert np.array_equal(found, wanted)
    assert len(np.unique(wanted[:, 0])) > 4  # the bits of the units are not all the same


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("inputs", [256, 257, 2048, 2049, 4500])
def test_units_with_many_inputs(device, inputs, is_shared):
    """Chunks of 256 and stages of 2048 inputs, whole or not; rows for two turns of a block."""
    g = numpy_generator(f"wide {inputs}")
    p = np.full((17, inputs), 0.5)  # zeros in all planes but one
    first = DenseLayer(
        3, probability_thresholds(p), np.full(17, 0.01), np.zeros(17), "gaussian", 1.0
    )
    network = Network((first, random_layer(4, 17, 3, None, g)), 2.0**-12)
    options = {"key": KEY, "draws": DRAWS[:2], "is_shared": is_shared, "first_row": 30}
    for x in (
        g.choice([-1, 1], (270, inputs)).astype(np.int16),
        g.integers(-300, 301, (3, inputs)).astype(np.int16),
    ):
        found = by_device(device, network, x, **options)
        assert np.array_equal(found, by_reference(network, x, **options))


@pytest.mark.parametrize("is_shared", [True, False])
def test_largest_sums_of_inputs_and_those_that_vanish(device, is_shared):
    g = numpy_generator("sums")
    inputs = 65_537
    network = Network((random_layer(0, inputs, 2, None, g),), 1.0)
    x = np.full((2, inputs), 32_767, np.int16)
    x[1] = -x[1]
    x[:, 1] = 32_766  # no longer one magnitude
    options = {"key": KEY, "draws": DRAWS[:1], "is_shared": is_shared, "first_row": 0}
    assert fits(network, x)
    for rows in (x, 0 * x[:, :100]):
        one = Network((random_layer(0, rows.shape[1], 2, None, g),), 1.0)
        found = by_device(device, one, rows, **options)
        assert np.array_equal(found, by_reference(one, rows, **options))


@pytest.mark.parametrize("is_shared", [True, False])
def test_draws_and_rows_are_cut_anywhere(device, is_shared):
    network, _, key, _ = random_case("cut 1")
    g = numpy_generator("cut")
    x = g.integers(-99, 100, (150, network.layers[0].num_inputs)).astype(np.int16)
    draws = np.arange(5)
    options = {"key": key, "is_shared": is_shared}
    whole = by_device(device, network, x, draws=draws, first_row=40, **options)
    for first, last in ((0, 1), (31, 33), (24, 150), (149, 150)):
        part = by_device(
            device, network, x[first:last], draws=draws, first_row=40 + first, **options
        )
        assert np.array_equal(part, whole[:, first:last])
    picked = by_device(device, network, x, draws=draws[::-2], first_row=40, **options)
    assert np.array_equal(picked, whole[::-2])
    again = by_device(device, network, np.asfortranarray(x), draws=draws, first_row=40, **options)
    assert np.array_equal(again, whole)


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("processors", [1, 3, 132])
def test_rows_are_split_over_blocks(emulator, processors, is_shared):
    g = numpy_generator("split")
    layers = (random_layer(0, 40, 33, "laplace", g), random_layer(1, 33, 5, None, g))
    network = Network(layers, 2.0**-3)
    x = g.choice([-1, 1], (1000, 40)).astype(np.int16)
    device = EmulatedDevice(emulator, processors)
    options = {"key": KEY, "draws": DRAWS[:1], "is_shared": is_shared, "first_row": 17}
    found = by_device(device, network, x, **options)
    assert np.array_equal(found, by_reference(network, x, **options))
    parts = [grid[2] for kernel, grid in device.launches if kernel.endswith("_layer")]
    assert parts == ([2, 4] if processors == 1 else [4, 4])


@pytest.mark.parametrize("is_shared", [True, False])
def test_weights_may_be_given(device, is_shared):
    for case in range(8):
        network, inputs, key, first_row = random_case(f"given {case}")
        options = {"key": key, "draws": DRAWS, "is_shared": is_shared, "first_row": first_row}
        words = draw_network(network, key, DRAWS)
        wanted = by_reference(network, inputs, **options)
        assert np.array_equal(by_device(device, network, inputs, words=words, **options), wanted)
        for word, layer in zip(words, network.layers, strict=True):  # padding is not read
            left = layer.num_inputs % 32
            if left:
                word[..., -1] |= np.uint32(0xFFFFFFFF << left & 0xFFFFFFFF)
        assert np.array_equal(by_device(device, network, inputs, words=words, **options), wanted)


@pytest.mark.parametrize("is_shared", [True, False])
def test_draws_may_have_scales_and_biases_of_their_own(device, is_shared):
    g = numpy_generator("own units")
    network, *_ = golden_case("a")
    network = Network(network.layers[1:], 2.0**-4)
    scale = network.layers[0].scale * g.uniform(0.1, 3, size=(4, 33))  # of the layer's sign
    units = (Units(scale, g.normal(size=(4, 33))), None)
    x = g.integers(-20, 21, (40, 40)).astype(np.int16)
    options = {"key": KEY, "draws": DRAWS, "is_shared": is_shared, "first_row": 3, "units": units}
    found = by_device(device, network, x, **options)
    assert np.array_equal(found, by_reference(network, x, **options))
    assert not np.array_equal(found, by_device(device, network, x, **options | {"units": ()}))


def test_no_rows_and_no_draws(device):
    network, inputs, key, _ = random_case("empty")
    options = {"key": key, "is_shared": True, "first_row": 0}
    classes = network.layers[-1].num_units
    none = by_device(device, network, inputs[:0], draws=DRAWS, **options)
    assert none.shape == (len(DRAWS), 0, classes)
    none = by_device(device, network, inputs, draws=DRAWS[:0], **options)
    assert none.shape == (0, len(inputs), classes)


def test_golden_hashes(device):
    for row in VECTORS.read_text().splitlines():
        if row.startswith("#"):
            continue
        label, name, digest = row.split()
        network, inputs, key, first_row = golden_case(label)
        options = {"key": key, "draws": DRAWS, "first_row": first_row}
        dots = by_device(device, network, inputs, is_shared=name == "shared", **options)
        assert hashlib.sha256(dots.astype("<i8").tobytes()).hexdigest() == digest


@pytest.mark.parametrize(
    ("values", "is_number", "planes", "magnitude"),
    [
        ([[3, -3, 3]], False, 1, 3),
        ([[1, -1]], False, 1, 1),
        ([[0, 0]], True, 1, 1),
        ([[1, 0]], True, 2, 1),
        ([[4, -4, 3]], True, 4, 1),
        ([[-32767, 32767]], False, 1, 32767),
        ([[-32767, 32766]], True, 16, 1),
    ],
)
def test_inputs_become_the_bits_that_they_need(device, values, is_number, planes, magnitude):
    inputs = np.array(values, np.int16)
    packed = PackedInputs(device, inputs)
    assert (packed.is_number, packed.planes) == (is_number, planes)
    assert packed.magnitude == magnitude
    rows = packed.rows.cpu().numpy().view(np.uint32)
    assert rows.shape == (planes, 1, row_words(inputs.shape[1]))
    bits = rows[:, 0, :1] >> np.arange(inputs.shape[1], dtype=np.uint32) & 1
    if is_number:
        weights = 2 ** np.arange(planes)
        weights[-1] *= -1
        assert np.array_equal(weights @ bits.astype(np.int64), inputs[0])
    else:
        assert np.array_equal(bits[0], inputs[0] > 0)
    assert not rows[..., 1:].any()


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_order_of_threads_does_not_matter(emulator, monkeypatch, order):
    monkeypatch.setenv("BSBN_EMULATED_ORDER", str(order))
    for case in range(12):
        network, inputs, key, first_row = random_case(str(case))
        options = {"key": key, "draws": DRAWS, "is_shared": case % 2, "first_row": first_row}
        found = by_device(EmulatedDevice(emulator), network, inputs, **options)
        assert np.array_equal(found, by_reference(network, inputs, **options))


CHANGES = {
    "the noise of ties": ("philox.h", "kRowNoiseTies = 2", "kRowNoiseTies = 4"),
    "the order of planes": (
        "cuda/weights.cuh",
        "const uint32_t q = cold[4 * (group - 2) + plane];",
        "const uint32_t q = cold[4 * (group - 2) + 3 - plane];",
    ),
    "the last bound": ("cuda/ensemble.cu", "v[i] <= bound.bound", "v[i] < bound.bound"),
    "the barrier before a stage": (
        "cuda/layer.cuh",
        "        __syncthreads();  // of the last stage nothing is read any more\n",
        "",
    ),
    "the barrier after a stage": (
        "cuda/layer.cuh",
        "        fill_stage(layer, position, first_unit, first, number, stage);\n"
        "        __syncthreads();\n",
        "        fill_stage(layer, position, first_unit, first, number, stage);\n",
    ),
}


@pytest.mark.skipif(COMPILER is None, reason="needs Linux and a C++ compiler")
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_the_source_is_seen(tmp_path, name):
    """The comparisons above can fail: each of these changes leaves almost all bits as they were."""
    file, old, new = CHANGES[name]
    changed = EmulatedDevice(build(tmp_path, {file: (old, new)}))
    g = numpy_generator("changed")
    p = np.round(g.random((100, 2100)) * 1024) / 1024  # ties of the first eight planes
    layers = [
        DenseLayer(
            site,
            probability_thresholds(p[:, :inputs]),
            np.full(100, 0.5 / inputs**0.5),
            np.zeros(100),
            "triangular",
            1.0,
        )
        for site, inputs in enumerate((2100, 100))
    ]
    network = Network((*layers, random_layer(2, 100, 30, None, g)), 1.0)
    x = g.choice([-1, 1], (200, 2100)).astype(np.int16)
    is_same = []
    for is_shared in (True, False):
        options = {"key": KEY, "draws": np.arange(20), "is_shared": is_shared, "first_row": 0}
        found = by_device(changed, network, x, **options)
        is_same.append(np.array_equal(found, by_reference(network, x, **options)))
    assert not all(is_same)
