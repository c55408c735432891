"""What is true of every estimator: values, draws, symmetries of the gradient, cost and papers.

How they behave under Pyro's handlers is in ``test_conformance_handlers.py``.
"""

import dataclasses

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.estimators.estimator import REGISTRY
from tests import chance, problems
from tests.estimators.conformance import (
    ALONE,
    DETERMINISTIC,
    EVERY,
    HARD,
    NAMES,
    NEEDS,
    assert_nonzero,
    elbo_of,
    given_step,
    needs,
    network,
    site_shapes,
    step,
    uniforms_of,
)
from tests.oracles import Layer, kl
from tests.pyro_networks import PyroNetwork, assert_same_gradient

NETWORKS = ("two_hidden_layers", "two_hidden_layers_real_weights", "bernoulli_head", "normal_head")


def test_table_of_needs_has_no_stale_entry():
    # "loo" may be looked up before it is registered; any other name without a class is a typo
    assert set(NEEDS) <= {*NAMES, "loo"}
    assert {"psa", "score", "st"} <= set(NAMES)


@pytest.mark.parametrize("temperature", [1.0, 0.3])
@pytest.mark.parametrize("problem", NETWORKS)
@pytest.mark.parametrize("name", NAMES)
def test_value_is_the_mean_log_likelihood_of_its_paths_and_the_kl(name, problem, temperature):
    net = network(problem)
    net.num_data = 12
    found = given_step(name, net, f"value/{problem}", temperature=temperature)
    y = found.sites["y"]
    log_p = (y["fn"].log_prob(y["value"]) * y["scale"]).detach()
    assert y["scale"] == 12 / 3
    number = needs(name).particles
    assert log_p.numel() == number * 3
    total_kl = sum(
        kl(layer.weight_mean) for _, layer in net.net.maps if layer.weight_mean is not None
    )
    wanted = -float(log_p.sum()) / number + temperature * total_kl
    assert found.loss == pytest.approx(wanted, abs=1e-10)


@pytest.mark.parametrize("name", HARD)
def test_states_are_the_draws_of_the_uniforms_and_exactly_plus_or_minus_one(name):
    net, signs = network(), set()
    for k in range(10):
        uniforms = uniforms_of(net, f"states/{k}", needs(name).particles)
        found = step(elbo_of(name), net, uniforms)
        for site, u in uniforms.items():
            value = found.sites[site]["value"].detach()
            probability = found.sites[site]["fn"].probs.detach()
            assert torch.equal(value, torch.where(u.reshape(value.shape) < probability, 1.0, -1.0))
            signs |= set(value.unique().tolist())
    assert signs == {-1.0, 1.0}


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_gradient_and_another_seed_another(name):
    net, runs = network(), []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        loss = elbo_of(name).loss_and_grads(net.model, net.guide, net.x, net.y)
        gradients = {k: torch.tensor(g) for k, g in net.gradients().items()}
        runs.append((loss, gradients))
    assert runs[0][0] == runs[1][0]
    assert (runs[2][0] == runs[0][0]) == (name in DETERMINISTIC)
    for block, gradient in runs[0][1].items():
        assert torch.equal(gradient, runs[1][1][block])
    others = [not torch.equal(g, runs[2][1][block]) for block, g in runs[0][1].items()]
    assert any(others) == (name not in DETERMINISTIC)


@pytest.mark.parametrize("problem", NETWORKS)
@pytest.mark.parametrize("name", EVERY)
def test_batch_is_the_mean_of_its_rows_each_scaled_to_all_data(name, problem):
    net = network(problem)
    uniforms = uniforms_of(net, f"rows/{problem}", needs(name).particles)
    whole = step(elbo_of(name), net, uniforms)
    single = [step(elbo_of(name), net, uniforms, rows=slice(n, n + 1)) for n in range(3)]
    assert whole.loss == pytest.approx(np.mean([s.loss for s in single]), abs=1e-10)
    mean = {k: sum(s.gradients[k] for s in single) / 3 for k in whole.gradients}
    assert_same_gradient(whole.gradients, mean, 1e-10)
    assert_nonzero(whole.gradients)


def permuted_layer(layer: Layer, rows, columns) -> Layer:
    changed = {"scale": layer.scale[rows], "bias": layer.bias[rows]}
    for matrix in ("weight", "weight_mean"):
        value = getattr(layer, matrix)
        if value is not None:
            changed[matrix] = value[rows][:, columns]
    return dataclasses.replace(layer, **changed)


@pytest.mark.parametrize(
    "problem", ["one_hidden_layer", "two_hidden_layers", "two_hidden_layers_real_weights"]
)
@pytest.mark.parametrize("name", [n for n in EVERY if not needs(n).knows_places])
def test_permuting_the_units_of_a_layer_permutes_the_gradient(name, problem):
    given = getattr(problems, problem)(num_data=3)
    units = given.net.layers[0].shape[0]
    order = np.roll(np.arange(units), 1)
    maps = [layer for _, layer in given.net.maps]
    everything = slice(None)
    maps[0] = permuted_layer(maps[0], order, everything)
    maps[1] = permuted_layer(maps[1], everything, order)
    permuted = dataclasses.replace(
        given, net=dataclasses.replace(given.net, layers=tuple(maps[:-1]), head=maps[-1])
    )
    net, other = PyroNetwork(given), PyroNetwork(permuted)
    uniforms = uniforms_of(net, f"units/{problem}", needs(name).particles)
    found = step(elbo_of(name), net, uniforms)
    second = list(dict(net.net.maps))[1]

    def reorder(blocks):
        moved = dict(blocks)
        for block in moved:
            place = block.removesuffix("_mean")
            if place in ("layers.0.scale", "layers.0.bias", "layers.0"):
                moved[block] = moved[block][..., order]
            elif place == "layers.0.weight":
                moved[block] = moved[block][..., order, :]
            elif place == f"{second}.weight":
                moved[block] = moved[block][..., order]
        return moved

    again = step(elbo_of(name), other, reorder(uniforms))
    assert again.loss == pytest.approx(found.loss, abs=1e-11)
    assert_same_gradient(again.gradients, reorder(found.gradients), 1e-11)
    moved = reorder(found.gradients)
    assert any(np.abs(moved[k] - g).max() > 1e-8 for k, g in found.gradients.items())


def mlp(dtype: torch.dtype):
    torch.manual_seed(chance.seed("mlp"))
    model = sbn.models.BinaryMLP(5, [12, 9], 3, num_data=8).to(dtype)
    guide = sbn.guides.AutoSignBernoulli(model)
    return model, guide


@pytest.mark.parametrize("name", NAMES)
def test_float32_tracks_float64(name):
    generator = chance.torch_generator("float32")
    number = needs(name).particles
    lead = (number,) if number > 1 else ()
    shapes = {"hidden.0.weight": (12, 5), "hidden.1.weight": (9, 12), "output.weight": (3, 9)}
    shapes |= {"x1": (8, 12), "x2": (8, 9)}
    # in both precisions the very same numbers
    uniforms = {
        k: torch.rand(lead + s, generator=generator, dtype=torch.float32) for k, s in shapes.items()
    }
    x = torch.randn(8, 5, generator=generator, dtype=torch.float32)
    y = torch.randint(0, 3, (8,), generator=generator)
    reference = mlp(torch.float64)
    losses, found = [], []
    for dtype in (torch.float64, torch.float32):
        model, guide = mlp(dtype)
        model.load_state_dict(reference[0].state_dict())
        guide.load_state_dict(reference[1].state_dict())
        given = {k: u.to(dtype) for k, u in uniforms.items()}
        with sbn.force_draws({}, uniforms=given):
            losses.append(elbo_of(name).loss_and_grads(model, guide, x.to(dtype), y))
        leaves = {**dict(model.named_parameters()), **dict(guide.named_parameters())}
        assert all(leaf.grad.dtype == dtype for leaf in leaves.values())
        found.append({k: leaf.grad.double().numpy() for k, leaf in leaves.items()})
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    for block, wanted in found[0].items():
        size = np.abs(wanted).max()
        assert size > 1e-6, block
        np.testing.assert_allclose(found[1][block], wanted, rtol=0, atol=2e-4 * size)
    assert len(found[0]) == 9
    assert found[0].keys() == found[1].keys()


@pytest.mark.parametrize("problem", ["one_hidden_layer_real_weights", "two_hidden_layers"])
@pytest.mark.parametrize("name", [n for n in NAMES if isinstance(REGISTRY[n].passes, int)])
def test_passes_are_those_that_the_class_states(name, problem):
    net = network(problem)
    found = given_step(name, net, "passes")
    stated = REGISTRY[name].passes
    # one pass is the run itself, the others are reruns of each site
    assert found.passes == 1 + (stated - 1) * len(site_shapes(net))


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_draws_the_same_and_leaves_gradients_alone(name):
    net = network()
    elbo = elbo_of(name)
    torch.manual_seed(3)
    loss = elbo.loss(net.model, net.guide, net.x, net.y)
    state = torch.get_rng_state()
    assert elbo.passes == 1
    assert all(leaf.grad is None for leaf in net.parameters.values())
    torch.manual_seed(3)
    assert elbo.loss_and_grads(net.model, net.guide, net.x, net.y) == pytest.approx(loss, abs=1e-12)
    assert torch.equal(torch.get_rng_state(), state)
    assert_nonzero(net.gradients())


@pytest.mark.parametrize("name", EVERY)
def test_no_gradient_reaches_the_uniforms(name):
    net = network()
    uniforms = uniforms_of(net, "leak", needs(name).particles)
    for u in uniforms.values():
        u.requires_grad_()
    found = step(elbo_of(name), net, uniforms)
    assert all(u.grad is None for u in uniforms.values())
    assert_nonzero(found.gradients)


@pytest.mark.parametrize("name", NAMES)
def test_no_graph_without_grad_mode(name):
    net = network()
    with torch.no_grad():
        loss = elbo_of(name).differentiable_loss(net.model, net.guide, net.x, net.y)
        found = given_step(name, net, "no grad")
    assert not loss.requires_grad
    assert all(not site["value"].requires_grad for site in found.sites.values())
    assert all(not g.any() for g in found.gradients.values())
    assert given_step(name, net, "no grad").loss == pytest.approx(found.loss, abs=1e-12)


@pytest.mark.parametrize("name", ALONE)
def test_gradient_does_not_depend_on_what_was_run_before(name):
    # one object, used on other data in between
    net, elbo = network(), elbo_of(name)
    uniforms = uniforms_of(net, "before")
    first = step(elbo_of(name), net, uniforms)
    step(elbo, net, uniforms_of(net, "in between"), rows=slice(1))
    again = step(elbo, net, uniforms)
    assert_same_gradient(again.gradients, first.gradients, 1e-14)


@pytest.mark.parametrize("name", EVERY)
def test_class_states_what_it_is(name):
    cls = REGISTRY[name]
    assert cls.name == name
    assert isinstance(cls.unbiased, bool) or cls.unbiased.strip()
    passes = cls.passes
    assert passes >= 1 if isinstance(passes, int) else passes.strip()
    assert cls.output in ("sign", "relaxed", "moments")
    assert cls.scope in ("site", "elbo")
    assert cls.reference.strip()
    # the class's own, not inherited: the slots are what users read first
    documentation = vars(cls).get("__doc__") or ""
    assert "Costs:" in documentation
    assert "Unbiased:" in documentation or "Biased:" in documentation
    assert sbn.estimators.get_estimator(name) is not sbn.estimators.get_estimator(name)
    assert type(sbn.estimators.get_estimator(name)).__name__ in repr(
        sbn.estimators.get_estimator(name)
    )


def test_table_lists_every_estimator():
    header, rule, *rows = sbn.estimators.table().splitlines()
    assert header.split() == ["name", "unbiased", "output", "passes", "reference"]
    assert set(rule) == {"-", " "}
    assert [row.split()[0] for row in rows] == sorted(REGISTRY)
    for row in rows:
        cls = REGISTRY[row.split()[0]]
        assert row.endswith(cls.reference)
        assert f"  {cls.passes}" in row


def test_the_suite_covers_the_family():
    antithetic = {"arm", "arms", "bitflip1", "disarm", "ugc"}
    controlled = {"muprop", "rebar", "relax"}
    others = {"exact", "local", "loo", "psa", "score", "st", "zgr"}
    assert antithetic | controlled | others <= set(REGISTRY)
