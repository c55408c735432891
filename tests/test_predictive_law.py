"""PackedPredictive: the law of its samples, against enumeration, and how they belong together."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from scipy.special import softmax

import bayes_sbn as sbn
from bayes_sbn.predictive import PackedPredictive
from tests import oracles
from tests.chance import assert_count, seed, torch_generator
from tests.oracle_networks import Layer, Net
from tests.predictive_networks import NETWORKS, rows


def tiny(log_scales=(0.0, 0.0)):
    """A network whose every state is listed: random parameters, scales about those given."""
    generator = torch_generator("tiny")
    model = sbn.models.BinaryMLP(2, [2], 2, num_data=10)
    guide = sbn.guides.AutoSignBernoulli(model, generator=generator)
    with torch.no_grad():
        for layer, log_scale in zip((*model.hidden, model.output), log_scales, strict=True):
            for value in layer.parameters():
                value.normal_(generator=generator)
            layer.scale_unconstrained.add_(log_scale)
    probabilities = guide.weight_probabilities()
    maps = [
        Layer(
            scale=layer.scale.detach().numpy(),
            bias=layer.bias.detach().numpy(),
            weight_mean=2 * probabilities[f"{name}.weight"].numpy() - 1,
        )
        for name, layer in (("hidden.0", model.hidden[0]), ("output", model.output))
    ]
    return model, guide, Net(layers=tuple(maps[:1]), head=maps[1])


NUM_SAMPLES = 30_000


@pytest.mark.parametrize("is_other", [False, True])
@pytest.mark.parametrize("noise", ["independent", "shared"])
def test_labels_have_the_frequencies_of_exact_enumeration(noise, is_other):
    """And, as the control, not those of a network whose head is another."""
    model, guide, net = tiny()
    x = rows(4, 2)
    predictive = PackedPredictive(
        model, guide, NUM_SAMPLES, ("y",), noise=noise, seed=seed(f"predictive/{noise}")
    )
    ones = predictive(x)["y"].sum(0)
    if is_other:
        net = net.with_parameter("head.bias", net.head.bias + np.array([0.0, 0.3]))
    expected = oracles.predictive_mean(net, x.numpy())[:, 1]
    with pytest.raises(AssertionError, match="p-value") if is_other else nullcontext():
        assert_count(ones, NUM_SAMPLES, expected, detects=0.03)


@pytest.mark.parametrize("noise", ["independent", "shared"])
def test_rows_of_a_draw_are_independent_given_its_weights_unless_they_share_noise(noise):
    """Two equal rows, whose activations Predictive draws one by one; the control shares noise."""
    model, guide, net = tiny((-2.0, 2.0))  # noise decides the activations, and these the labels
    x = rows(1, 2).expand(2, 2)
    q, table = oracles.predictive_draws(net, x.numpy())
    of_weights = q.sum(-1)[:, 0]
    one = (q * table[..., 1]).sum(-1) / of_weights[:, None]
    expected = (of_weights * one[:, 0] * one[:, 1]).sum()
    sites = ("y",)
    y = PackedPredictive(model, guide, NUM_SAMPLES, sites, noise=noise, seed=seed("joint"))(x)["y"]
    both = (y == 1).all(1).sum()
    with pytest.raises(AssertionError, match="p-value") if noise == "shared" else nullcontext():
        assert_count(both, NUM_SAMPLES, expected, detects=0.03)


def test_weights_and_activations_have_the_probabilities_of_the_model():
    model, guide, _ = tiny()
    x = rows(3, 2)
    samples = PackedPredictive(model, guide, NUM_SAMPLES, seed=seed("weights"))(x)
    for name, p in guide.weight_probabilities().items():
        counts = (samples[name] == 1).sum(0)[0]
        assert_count(counts, NUM_SAMPLES, p, detects=0.03)
    # of the draws with all weights of the layer +1
    layer = model.hidden[0]
    chosen = (samples["hidden.0.weight"] == 1).all(-1).all(-1)[:, 0]
    a = layer.scale.detach() * x.sum(-1, keepdim=True) + layer.bias.detach()
    fires = (samples["x1"][chosen] == 1).sum(0)
    assert_count(fires, int(chosen.sum()), torch.sigmoid(a), detects=0.2)


@pytest.mark.parametrize("noise", ["independent", "shared"])
@pytest.mark.parametrize("name", NETWORKS)
def test_samples_of_all_sites_belong_together(name, noise):
    """The networks are those of ``Posterior.draw``; weights and activations give its logits."""
    model, guide = NETWORKS[name]()
    x = rows().to(model.output.bias.dtype)
    samples = PackedPredictive(model, guide, 9, seed=5, noise=noise)(x)
    ensemble = sbn.Posterior.from_guide(model, guide).draw(9, seed=5)
    last = f"x{len(model.hidden)}"
    h = samples[last].double() if last in samples else x.double().expand(9, -1, -1)
    products = h @ samples["output.weight"][:, 0].double().mT
    logits = products * model.output.scale.double() + model.output.bias.double()
    expected = ensemble.logits(x, noise=noise)
    np.testing.assert_allclose(logits.detach().numpy(), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(samples["y"], ensemble.labels(x, noise=noise))
    probs = softmax(logits.detach().numpy(), -1)
    np.testing.assert_allclose(ensemble.predict(x, noise=noise).probs_per_draw, probs, atol=1e-9)
