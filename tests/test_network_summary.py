"""The summary of a network, number by number, on networks small enough to count by hand."""

import json
import math

import pyro
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.posterior_layer import PosteriorLayer


def mlp():
    torch.manual_seed(0)
    model = sbn.models.BinaryMLP(5, [4, 3], 2, num_data=10, prior_logit=0.3)
    return model, sbn.guides.AutoSignBernoulli(model)


def test_summary_counts_the_layers_of_a_dense_network():
    found = sbn.summary(*mlp())
    assert [layer.name for layer in found.layers] == ["x1", "x2", "y"]
    assert [layer.shape for layer in found.layers] == [(4, 5), (3, 4), (2, 3)]
    assert [layer.weight for layer in found.layers] == [
        "hidden.0.weight",
        "hidden.1.weight",
        "output.weight",
    ]
    assert [layer.bits for layer in found.layers] == [20, 12, 6]
    assert [layer.additions for layer in found.layers] == [20, 0, 0]  # real inputs
    assert [layer.xnors for layer in found.layers] == [0, 12, 6]
    assert [layer.multiplications for layer in found.layers] == [0, 0, 0]
    assert [layer.reals for layer in found.layers] == [8, 6, 4]  # a scale and a bias a unit
    assert (found.bits, found.reals) == (38, 18)
    assert found.bytes_packed == 5 + 4 * 18
    assert found.bytes_float == 4 * 56


def test_summary_tells_how_decided_the_weights_are():
    model, guide = mlp()
    found = sbn.summary(model, guide)
    for layer in found.layers:
        p = guide.weight_probabilities()[layer.weight].flatten().tolist()
        prior = 1 / (1 + math.exp(-0.3))
        entropy = [-q * math.log2(q) - (1 - q) * math.log2(1 - q) for q in p]
        cross = [-q * math.log2(prior) - (1 - q) * math.log2(1 - prior) for q in p]
        assert layer.entropy == pytest.approx(sum(entropy) / len(p), rel=1e-6)
        assert layer.divergence == pytest.approx((sum(cross) - sum(entropy)) / len(p), rel=1e-5)
        assert layer.certainty == pytest.approx(sum(abs(2 * q - 1) for q in p) / len(p), rel=1e-6)
    mean = sum(layer.bits * layer.entropy for layer in found.layers) / 38
    assert found.mean("entropy") == pytest.approx(mean)


def residual(x, y):
    """A convolution beside the identity of its input, pooled, then a head with real weights."""
    kernel = pyro.sample("kernel", sbn.SignBernoulli(logits=torch.zeros(2, 2, 3, 3)).to_event(4))
    first = pyro.sample("first", sbn.SignBernoulli(logits=torch.zeros(2, 1, 1, 1)).to_event(4))
    head = pyro.param("head", torch.zeros(3, 8))
    with pyro.plate("data", 20, subsample=x, dim=-1):
        h = pyro.sample("h", sbn.NoisySign(sbn.affine_conv2d(x, first, torch.zeros(2))))
        both = sbn.affine_conv2d(h, kernel, padding=1) + sbn.identity(h, 3, scale=0.5)
        z = pyro.sample("z", sbn.NoisySign(both))
        z = sbn.flatten(sbn.max_pool2d(z, 2), 3)
        pyro.sample("y", sbn.AffineCategorical(sbn.affine(z, head)), obs=y)


def test_summary_counts_convolutions_skips_and_real_heads():
    x, y = torch.randn(2, 1, 4, 4), torch.tensor([0, 2])
    guide = sbn.guides.AutoSignBernoulli(residual, example=(x, y))
    found = sbn.summary(residual, guide, (x, y))
    rows = [(layer.name, layer.kind, layer.weight) for layer in found.layers]
    assert rows == [
        ("h", "conv", "first"),
        ("z", "conv", "kernel"),
        ("z", "identity", "none"),
        ("y", "dense", "real"),
    ]
    h, z, skip, head = found.layers
    assert (h.units, h.bits, h.additions, h.reals) == (32, 2, 32, 2)
    assert (z.units, z.bits, z.xnors) == (32, 36, 32 * 18)
    assert (skip.units, skip.bits, skip.multiplications) == (32, 0, 32)
    assert (head.bits, head.reals, head.multiplications) == (0, 24, 24)
    assert head.entropy is None
    assert found.bits == 38


def test_weights_that_two_layers_share_are_stored_once():
    def model(x, y):
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(3, 3)).to_event(2))
        with pyro.plate("data", len(x), dim=-1):
            h = pyro.sample("h", sbn.NoisySign(sbn.affine(x, w)))
            pyro.sample("y", sbn.AffineCategorical(sbn.affine(h, w)), obs=y)

    x, y = torch.ones(1, 3), torch.tensor([1])
    found = sbn.summary(model, sbn.guides.AutoSignBernoulli(model, example=(x, y)), (x, y))
    assert [layer.bits for layer in found.layers] == [9, 0]
    assert [layer.additions + layer.xnors for layer in found.layers] == [9, 9]


def test_summary_prints_a_table_and_gives_plain_numbers():
    found = sbn.summary(*mlp())
    text = str(found)
    assert text.splitlines()[0].split()[:4] == ["layer", "kind", "weights", "shape"]
    assert "38 ±1 weights and 18 real numbers: 77 bytes a network, 224 bytes in float32" in text
    assert repr(found) == text
    again = json.loads(json.dumps(found.to_dict()))
    assert again["bits"] == 38
    assert again["layers"][1]["xnors"] == 12


def test_summary_leaves_the_model_and_the_generators_alone():
    model, guide = mlp()
    model(torch.ones(2, 5), torch.zeros(2).long())
    before = model.input_range.clone()
    sbn.summary(model, guide)
    assert torch.equal(model.input_range, before)
    assert all(parameter.grad is None for parameter in guide.parameters())


def test_a_callable_needs_an_example():
    guide = sbn.guides.AutoSignBernoulli(
        residual, example=(torch.randn(1, 1, 4, 4), torch.tensor([0]))
    )
    with pytest.raises(TypeError, match=r"example is a NoneType.*Write summary\(model, guide, \(x"):
        sbn.summary(residual, guide)
    with pytest.raises(TypeError, match="example is a Tensor"):
        sbn.summary(residual, guide, torch.ones(3))


@pytest.mark.parametrize("kind", ["normal", "point"])
def test_real_weights_are_listed_with_their_products_and_spread(kind):
    model = sbn.models.BinaryMLP(8, [16, 4], 3, num_data=100, real=("first", "last"))
    guide = sbn.guides.AutoHybrid(model, kind)
    found = sbn.summary(model, guide)
    first, middle, last = found.layers
    assert [layer.weight for layer in found.layers] == [
        "hidden.0.weight",
        "hidden.1.weight",
        "output.weight",
    ]
    assert (first.bits, first.reals, first.multiplications) == (0, 128 + 16, 128)
    assert (middle.bits, middle.reals, middle.xnors) == (64, 8, 64)
    assert (last.bits, last.reals, last.multiplications, last.xnors) == (0, 12 + 3, 12, 0)
    assert (first.entropy, middle.spread) == (None, None)
    for layer in (first, last):
        _, spread = guide.real_weights()[layer.weight]
        assert layer.spread == pytest.approx(float(spread.mean()), abs=1e-12)
    assert (first.spread == 0) == (kind == "point")
    assert found.bits == 64
    head = str(found).splitlines()[0].split()
    assert head[-1] == "spread"
    assert "spread" not in str(sbn.summary(*plain_pair()))


def plain_pair():
    """A network of ±1 weights alone, and its guide."""
    model = sbn.models.BinaryMLP(8, [4], 3, num_data=100)
    return model, sbn.guides.AutoSignBernoulli(model)


def same_numbers(found, wanted):
    assert (found.bits, found.reals) == (wanted.bits, wanted.reals)
    for a, b in zip(found.layers, wanted.layers, strict=True):
        assert (a.kind, a.shape, a.units) == (b.kind, b.shape, b.units)
        assert (a.xnors, a.additions, a.multiplications) == (
            b.xnors,
            b.additions,
            b.multiplications,
        )
        for name in ("entropy", "divergence", "certainty", "spread"):
            value = getattr(b, name)
            near = None if value is None else pytest.approx(value, rel=1e-6, abs=1e-8)
            assert getattr(a, name) == near


def test_summary_of_a_posterior_has_the_numbers_of_model_and_guide():
    model, guide = mlp()
    posterior = sbn.Posterior.from_guide(model, guide)
    same_numbers(sbn.summary(posterior), sbn.summary(model, guide))


@pytest.mark.parametrize("kind", ["AutoSignMixture", "AutoSignLowRank"])
def test_summary_of_a_structured_posterior_is_of_its_marginals(kind):
    torch.manual_seed(0)
    model = sbn.models.BinaryMLP(5, [4], 3, num_data=10, prior_logit=0.3)
    guide = getattr(sbn.guides, kind)(model)
    posterior = sbn.Posterior.from_guide(model, guide)
    same_numbers(sbn.summary(posterior), sbn.summary(model, guide))


def test_summary_of_a_posterior_counts_real_weights():
    torch.manual_seed(0)
    model = sbn.models.BinaryMLP(5, [4], 3, num_data=10, real=("last",))
    guide = sbn.guides.AutoHybrid(model)
    posterior = sbn.Posterior.from_guide(model, guide)
    found, wanted = sbn.summary(posterior), sbn.summary(model, guide)
    assert found.layers[1].multiplications == wanted.layers[1].multiplications == 12
    assert found.layers[1].spread == pytest.approx(wanted.layers[1].spread)
    assert found.layers[1].entropy is None


def test_summary_of_certain_signs_is_finite():
    p = torch.tensor([[0.0, 1.0], [1.0, 0.5]])
    layer = PosteriorLayer("y", 0, p.numpy(), torch.ones(2).numpy(), torch.zeros(2).numpy())
    found = sbn.summary(sbn.Posterior([layer], 1.0)).layers[0]
    assert (found.entropy, found.divergence, found.certainty) == (0.25, 0.75, 0.75)


def test_summary_says_what_it_needs():
    model, guide = mlp()
    posterior = sbn.Posterior.from_guide(model, guide)
    with pytest.raises(TypeError, match=r"summary\(posterior\): .* Write summary\(posterior\)"):
        sbn.summary(posterior, guide)
    with pytest.raises(TypeError, match=r"summary\(BinaryMLP\): .* Write summary\(model, guide\)"):
        sbn.summary(model)
