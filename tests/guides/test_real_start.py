"""The warm start from a real network: exact means, exact pre-activations, and errors."""

import itertools

import pyro
import pytest
import torch
from torch import nn

import bayes_sbn as sbn


def model_of(*sizes, noise="logistic"):
    first, *hidden, last = sizes
    return sbn.models.BinaryMLP(first, hidden, last, num_data=20, noise=noise)


def real_network(*sizes, activation=nn.Tanh, seed=0):
    torch.manual_seed(seed)
    modules = []
    for size, out in itertools.pairwise(sizes):
        modules += [nn.Linear(size, out), activation()]
    return nn.Sequential(*modules[:-1])


def expected_pre_activations(model, guide, x, mean_of_unit):
    """Layer by layer, the pre-activations with all weights and activations at their means."""
    found = []
    for path in [*(f"hidden.{k}" for k in range(len(model.hidden))), "output"]:
        layer = model.get_submodule(path)
        mean = 2 * guide.weight_probabilities()[f"{path}.weight"] - 1
        found.append(layer.scale * (x @ mean.T) + layer.bias)
        x = mean_of_unit(found[-1])
    return found


def real_pre_activations(network, x):
    found = []
    for module in network:
        x = module(x)
        if isinstance(module, nn.Linear):
            found.append(x)
    return found


@pytest.mark.parametrize(
    ("activation", "noise", "mean_of_unit", "gain"),
    [
        (nn.Tanh, sbn.noise.Logistic(0.7), lambda a: torch.tanh(a / 1.4), 1.4),
        (nn.Sigmoid, sbn.noise.Logistic(), lambda a: 2 * torch.sigmoid(a) - 1, 1.0),
        (nn.Hardtanh, sbn.noise.Uniform(1.5), lambda a: (a / 1.5).clamp(-1, 1), 1.5),
    ],
    ids=["tanh", "sigmoid", "hardtanh"],
)
def test_expected_pre_activations_are_those_of_the_real_network(
    activation, noise, mean_of_unit, gain
):
    network = real_network(5, 7, 6, 3, activation=activation)
    model = model_of(5, 7, 6, 3, noise=noise)
    guide = sbn.guides.AutoSignBernoulli.from_real(model, network)
    x = torch.randn(11, 5)
    found = expected_pre_activations(model, guide, x, mean_of_unit)
    wanted = real_pre_activations(network, x)
    for mine, real, factor in zip(found, wanted, (gain, gain, 1.0), strict=True):
        assert torch.allclose(mine, factor * real, rtol=0, atol=1e-12)
    # the activations made a difference: without them the logits are others
    linear = expected_pre_activations(model, guide, x, lambda a: a)
    assert not torch.allclose(linear[-1], wanted[-1], atol=1e-2)


def test_the_mean_of_all_weight_draws_has_the_real_pre_activations():
    # all 2^4 states of a layer of 2 units with 2 inputs, weighed by their probabilities
    guide = sbn.guides.AutoSignBernoulli(model_of(2, 2, 3))
    site, weight = "hidden.0.weight", torch.randn(2, 2)
    scale = guide.start_from({site: weight}, largest_mean=0.9)[site]
    p = guide.weight_probabilities()[site]
    x, total = torch.randn(2), torch.zeros(2)
    for bits in torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 4):
        w = bits.reshape(2, 2)
        total += torch.where(w > 0, p, 1 - p).prod() * scale * (w @ x)
    assert torch.allclose(total, weight @ x, rtol=0, atol=1e-12)


def test_the_largest_mean_of_every_unit_is_the_one_asked_for():
    guide = sbn.guides.AutoSignBernoulli(model_of(4, 6, 3))
    weight = torch.randn(6, 4)
    scales = guide.start_from({"hidden.0.weight": weight}, largest_mean=0.8)
    mean = torch.tanh(guide.leaf("hidden.0.weight").detach())
    assert torch.allclose(mean.abs().amax(1), torch.full((6,), 0.8))
    assert torch.allclose(scales["hidden.0.weight"], weight.abs().amax(1) / 0.8)


def test_a_unit_without_weights_is_a_fair_coin_with_a_positive_scale():
    network = real_network(4, 3, 2)
    with torch.no_grad():
        network[0].weight[1] = 0
    model = model_of(4, 3, 2)
    guide = sbn.guides.AutoSignBernoulli.from_real(model, network)
    assert torch.equal(guide.weight_probabilities()["hidden.0.weight"][1], torch.full((4,), 0.5))
    assert model.hidden[0].scale.detach()[1] == pytest.approx(0.5)


def test_layers_without_bias_nested_sequences_and_idle_modules_are_read():
    inner = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False), nn.Dropout(0.5), nn.Tanh())
    network = nn.Sequential(inner, nn.Linear(3, 2), nn.Identity())
    model = model_of(4, 3, 2)
    guide = sbn.guides.AutoSignBernoulli.from_real(model, network)
    assert torch.equal(model.hidden[0].bias.detach(), torch.zeros(3))
    mean = 2 * guide.weight_probabilities()["hidden.0.weight"] - 1
    scaled = model.hidden[0].scale.detach()[:, None] * mean
    assert torch.allclose(scaled, 2 * inner[1].weight.detach(), atol=1e-12)


def test_sites_of_a_callable_start_from_real_weights():
    def my_model(x, y=None):
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(3, 4)).to_event(2))
        with pyro.plate("data", len(x), dim=-1):
            return pyro.sample("y", sbn.AffineCategorical(sbn.affine(x, w)), obs=y)

    guide = sbn.guides.AutoSignBernoulli(my_model, example=(torch.randn(2, 4),))
    weight = torch.randn(3, 4)
    scale = guide.start_from({"w": weight})["w"]
    mean = torch.tanh(guide.leaf("w").detach())
    assert torch.allclose(scale[:, None] * mean, weight, rtol=0, atol=1e-12)


def test_a_trained_real_network_gives_a_binary_one_above_chance_and_it_trains_on():
    g = torch.Generator().manual_seed(0)
    centres = 1.5 * torch.randn(4, 8, generator=g)
    y = torch.arange(400) % 4
    x = centres[y] + 0.7 * torch.randn(400, 8, generator=g)
    network = real_network(8, 32, 4)
    adam = torch.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(60):
        adam.zero_grad()
        nn.functional.cross_entropy(network(x[:300]), y[:300]).backward()
        adam.step()
    model = sbn.models.BinaryMLP(8, [32], 4, num_data=300)

    def accuracy(guide):
        model(x[:300], y[:300])  # tells the range of the inputs
        predictions = sbn.Posterior.from_guide(model, guide).draw(64, seed=1).predict(x[300:])
        return float((predictions.mean.argmax(-1) == y[300:].numpy()).mean())

    torch.manual_seed(0)
    cold = accuracy(sbn.guides.AutoSignBernoulli(model))
    guide = sbn.guides.AutoSignBernoulli.from_real(model, network)
    warm = accuracy(guide)
    assert (network(x[300:]).argmax(-1) == y[300:]).double().mean() > 0.95
    assert warm > 0.9
    assert cold < 0.6
    optim = sbn.optim.MirrorDescent({"lr": 0.05})
    svi = pyro.infer.SVI(model, guide, optim, sbn.TraceEstimator_ELBO("psa", temperature=0.01))
    losses = [svi.step(x[:300], y[:300]) for _ in range(40)]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_from_real_is_a_new_guide_whose_leaves_do_not_share_memory():
    network = real_network(4, 3, 2)
    model = model_of(4, 3, 2)
    guide = sbn.guides.AutoSignBernoulli.from_real(model, network, gradient="euclidean")
    before = guide.leaf("hidden.0.weight").detach().clone()
    bias = model.hidden[0].bias.detach().clone()
    with torch.no_grad():
        network[0].weight.add_(1.0)
        network[0].bias.add_(1.0)
    assert guide.gradient == "euclidean"
    assert torch.equal(guide.leaf("hidden.0.weight").detach(), before)
    assert torch.equal(model.hidden[0].bias.detach(), bias)


@pytest.mark.parametrize(
    ("network", "error", "words"),
    [
        (nn.Linear(4, 2), TypeError, r"is a Linear; it must be a torch.nn.Sequential"),
        (real_network(4, 3, 3, 2), ValueError, r"3 Linear layers but the model has 2 layers"),
        (
            real_network(4, 5, 2),
            ValueError,
            r'layer "0" .* shape \(5, 4\), but those of the model at "hidden.0.weight" have shape '
            r"\(3, 4\)",
        ),
        (real_network(4, 3, 2, activation=nn.ReLU), ValueError, r'module "1" .* is ReLU\(\)'),
        (real_network(4, 3, 2, activation=nn.ReLU6), ValueError, r'module "1" .* is ReLU6'),
        (
            nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)),
            ValueError,
            r'no activation stands before layer "1"',
        ),
        (nn.Sequential(nn.Tanh(), nn.Linear(4, 2)), ValueError, r'module "0" .* is Tanh'),
        (
            nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2), nn.Tanh()),
            ValueError,
            r"last module .* must be the Linear layer of the logits",
        ),
        (nn.Sequential(), ValueError, r"it is not there"),
    ],
)
def test_networks_that_do_not_fit_are_errors_and_leave_the_model(network, error, words):
    model = model_of(4, 3, 2)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    with pytest.raises(error, match=words):
        sbn.guides.AutoSignBernoulli.from_real(model, network)
    assert all(torch.equal(before[n], p) for n, p in model.named_parameters())


def test_models_without_an_architecture_are_told_of_start_from():
    with pytest.raises(TypeError, match=r"start_from\({site: real_weights}\)"):
        sbn.guides.AutoSignBernoulli.from_real(nn.Identity(), real_network(4, 2))


def test_wrong_weights_are_errors_and_change_nothing():
    guide = sbn.guides.AutoSignBernoulli(model_of(4, 3, 2))
    before = {n: p.detach().clone() for n, p in guide.named_parameters()}
    good = {"hidden.0.weight": torch.ones(3, 4)}
    with pytest.raises(ValueError, match=r'site "output.weight": .* \(3, 2\).* \(2, 3\)'):
        guide.start_from({**good, "output.weight": torch.ones(3, 2)})
    with pytest.raises(KeyError, match="the ±1 weights are"):
        guide.start_from({**good, "nothing": torch.ones(3, 2)})
    with pytest.raises(ValueError, match="NaN or infinite"):
        guide.start_from({"hidden.0.weight": torch.full((3, 4), float("nan"))})
    for wrong in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="lies between 0 and 1"):
            guide.start_from(good, largest_mean=wrong)
    assert all(torch.equal(before[n], p) for n, p in guide.named_parameters())


def test_signs_of_a_real_network_have_the_nearest_scales():
    network = torch.nn.Sequential(
        torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3, bias=False)
    )
    with torch.no_grad():
        network[0].weight[1] = 0.0
    model = sbn.models.BinaryMLP(5, [4], 3, num_data=10)
    guide = sbn.guides.AutoSignDelta.from_real(model, network, spread=0.7)
    # the gain of tanh under logistic noise is 2
    for layer, real, gain in ((model.hidden[0], network[0], 2.0), (model.output, network[2], 1.0)):
        name = "hidden.0.weight" if layer is model.hidden[0] else "output.weight"
        wanted = gain * real.weight.detach()
        leaf = guide.leaf(name).detach()
        signs = torch.where(leaf >= 0, 1.0, -1.0)
        has_weights = wanted.abs().sum(1) > 0
        assert torch.equal(signs[has_weights], torch.where(wanted >= 0, 1.0, -1.0)[has_weights])
        sizes = leaf.square().mean(1).sqrt()
        torch.testing.assert_close(sizes[has_weights], torch.full_like(sizes, 0.7)[has_weights])
        scale = layer.scale.detach()
        least, below, above = (
            (wanted - (factor * scale).unsqueeze(1) * signs).square().sum(1)[has_weights]
            for factor in (1.0, 0.99, 1.01)
        )
        assert bool(((least < below) & (least < above)).all())
        bias = torch.zeros(3) if real.bias is None else gain * real.bias.detach()
        torch.testing.assert_close(layer.bias.detach(), bias)
    assert model.hidden[0].scale.detach()[1].item() == pytest.approx(1 / 5)
    model(torch.randn(10, 5))


def test_a_wrong_spread_of_latent_weights_is_an_error():
    network = torch.nn.Sequential(torch.nn.Linear(5, 3))
    model = sbn.models.BinaryMLP(5, [], 3, num_data=10)
    for spread in (0.0, float("nan")):
        with pytest.raises(ValueError, match=r"AutoSignDelta.start_from, .*: spread="):
            sbn.guides.AutoSignDelta.from_real(model, network, spread=spread)
