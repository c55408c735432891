"""A forward pass of one's own, layer by layer in packed bits, is that of an ensemble."""

import numpy as np
import pytest
import torch

from bayes_sbn import kernels
from bayes_sbn.kernels import loader
from bayes_sbn.posterior import Posterior
from bayes_sbn.posterior_layer import PosteriorLayer
from tests.chance import numpy_generator

BACKENDS = ["reference", pytest.param("native", marks=pytest.mark.native)]
SEED, STREAM, OFFSET, STEP = 2**63 + 9, 4, 29, 2.0**-6
NOISES = ("logistic", "gaussian", "laplace", "uniform", "triangular")


@pytest.fixture(autouse=True, params=BACKENDS)
def _backend(request, monkeypatch):
    if request.param == "native" and not loader.library_path().exists():
        pytest.skip("the kernel library is not built")
    monkeypatch.setenv("BAYES_SBN_BACKEND", request.param)
    loader._choose.cache_clear()
    yield
    loader._choose.cache_clear()


def layer(site: int, inputs: int, units: int, noise: str | None) -> PosteriorLayer:
    g = numpy_generator(f"by layers/{site}/{inputs}/{units}")
    p = g.random((units, inputs))
    p[g.random(p.shape) < 0.1] = 0.0
    p[g.random(p.shape) < 0.1] = 1.0
    return PosteriorLayer(
        f"layer {site}",
        site,
        p,
        scale=g.normal(size=units) / inputs**0.5,
        bias=g.normal(size=units) / 2,
        noise=noise,
        noise_scale=1.0 if noise is None else 0.7,
    )


def forward(layers, x, draw, row_noise, row_offset=OFFSET, *, drawn_before=False):
    """Integer logits and logits of one draw, one operator a layer."""
    key = {"seed": SEED, "stream": STREAM}
    h = torch.round(x / STEP).to(torch.int16)
    for index, own in enumerate(layers):
        w = kernels.PackedProbabilities.pack(torch.tensor(own.probabilities))
        bits = w.draw([draw], site=own.site, **key)
        bits = kernels.PackedBits(bits.data[0], bits.length)
        scale = torch.tensor(own.scale) * (STEP if index == 0 else 1.0)
        bias = torch.tensor(own.bias)
        if own.noise is None:
            product = kernels.integer_linear if index == 0 else kernels.xnor_linear
            return product(h, bits).long(), kernels.linear_logits(h, bits, scale, bias)
        h = kernels.stochastic_linear(
            h,
            bits if drawn_before else w,
            scale,
            bias,
            noise=own.noise,
            noise_scale=own.noise_scale,
            row_noise=row_noise,
            draw=draw,
            site=own.site,
            row_offset=row_offset,
            **key,
        )
    raise AssertionError("the last layer has no noise")


@pytest.mark.parametrize("drawn_before", [False, True])
@pytest.mark.parametrize("row_noise", ["shared", "independent"])
@pytest.mark.parametrize("number", range(len(NOISES)))
def test_layers_one_after_the_other_are_the_ensemble(number, row_noise, drawn_before):
    noises = (*NOISES[number:], *NOISES[:number])[:3]
    sizes = (40, 65, 33, 100, 7)
    layers = [
        layer(2 * site, sizes[site], sizes[site + 1], noise)
        for site, noise in enumerate((*noises, None))
    ]
    ensemble = Posterior(layers, STEP).draw(4, seed=SEED, stream=STREAM)
    x = numpy_generator("by layers/x").integers(-300, 301, (45, 40)) * STEP
    options = {"noise": row_noise, "row_offset": OFFSET}
    wanted = ensemble.integer_logits(x, **options), ensemble.logits(x, **options)
    for draw in range(4):
        dots, logits = forward(
            layers, torch.from_numpy(x), draw, row_noise, drawn_before=drawn_before
        )
        assert np.array_equal(dots.numpy(), wanted[0][draw])
        assert logits.numpy().tobytes() == wanted[1][draw].tobytes()


@pytest.mark.parametrize("row_noise", ["shared", "independent"])
def test_a_batch_of_leading_dimensions_is_its_rows(row_noise):
    layers = [layer(0, 20, 50, "logistic"), layer(1, 50, 3, None)]
    x = torch.from_numpy(numpy_generator("batch").integers(-90, 91, (4, 3, 5, 20)) * STEP)
    dots, logits = forward(layers, x, 2, row_noise)
    flat = forward(layers, x.reshape(60, 20), 2, row_noise)
    assert torch.equal(dots, flat[0].reshape(4, 3, 5, 3))
    assert torch.equal(logits, flat[1].reshape(4, 3, 5, 3))
    for first in (0, 1):
        part = forward(layers, x[first:], 2, row_noise, OFFSET + 15 * first)
        assert torch.equal(part[0], dots[first:])
