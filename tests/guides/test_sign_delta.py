"""AutoSignDelta: exact flips of deterministic weights, MAP, state, export, and refusals."""

import copy
import io
import itertools
import pickle

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO, config_enumerate

import bayes_sbn as sbn
from bayes_sbn.estimators import PathSampleAnalytic
from bayes_sbn.estimators.estimator import REGISTRY

PRIOR_LOGIT = 0.7
EXACT_PSA = PathSampleAnalytic(real_inputs="exact")
SITES = ("hidden.0.weight", "output.weight")
SHIPPED = sorted(n for n, cls in REGISTRY.items() if cls.__module__.startswith("bayes_sbn."))
WORKING = {"psa", "st", "local", "bitflip1", "exact", "ap2", "local_reparametrisation", "mean"}


def tiny(hidden=3, rows=2):
    torch.manual_seed(4)
    x, y = torch.randn(rows, 2), torch.arange(rows) % 2
    model = sbn.models.BinaryMLP(2, [hidden], 2, num_data=rows, prior_logit=PRIOR_LOGIT)
    return model, sbn.guides.AutoSignDelta(model), x, y


def expected_loss(model, weights, x, y, temperature=1.0):
    """-E[log p(y | w, h)] over all states of h, less T log p(w): plain sums."""
    first, last = model.hidden[0], model.output
    p = torch.sigmoid(first.scale * (x @ weights[SITES[0]].T) + first.bias)
    total = torch.zeros(())
    for state in itertools.product((-1.0, 1.0), repeat=p.shape[1]):
        h = torch.tensor(state)
        chance = torch.where(h > 0, p, 1 - p).prod(1)
        logits = last.scale * (weights[SITES[1]] @ h) + last.bias
        total = total - (chance * logits.log_softmax(0)[y]).sum()
    prior = torch.sigmoid(torch.tensor(PRIOR_LOGIT))
    for w in weights.values():
        total = total - temperature * torch.where(w > 0, prior, 1 - prior).log().sum()
    return total.detach()


def signs_of(guide):
    return {s: torch.where(guide.leaf(s).detach() >= 0, 1.0, -1.0) for s in SITES}


def half_differences(model, guide, x, y, temperature=1.0):
    """Of the expected loss between both signs of each weight, the others as they are."""
    found = {}
    for site, w in signs_of(guide).items():
        found[site] = torch.zeros_like(w)
        for place in itertools.product(*map(range, w.shape)):
            losses = []
            for sign in (1.0, -1.0):
                changed = signs_of(guide)
                changed[site][place] = sign
                losses.append(expected_loss(model, changed, x, y, temperature))
            found[site][place] = (losses[0] - losses[1]) / 2
    return found


def over_all_paths(make_elbo, model, guide, x, y, wrap=lambda guide: guide):
    """Loss and gradients of the leaves, summed over all states of the activations."""
    first = model.hidden[0]
    p = torch.sigmoid(first.scale * (x @ signs_of(guide)[SITES[0]].T) + first.bias).detach()
    states = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=p.numel())))
    states = states.reshape(-1, *p.shape)
    chance = torch.where(states > 0, p, 1 - p).flatten(1).prod(1)
    number = len(states)
    elbo = make_elbo(num_particles=number, vectorize_particles=True, max_plate_nesting=1)
    guide.zero_grad()
    share = poutine.scale(scale=(chance * number).unsqueeze(-1))
    with share, sbn.force_draws({"x1": states}):
        loss = elbo.loss_and_grads(guide.model, wrap(guide), x, y)
    return loss, {s: guide.leaf(s).grad.clone() for s in SITES}


def same(found, wanted):
    for site in SITES:
        assert wanted[site].abs().max() > 1e-3
        assert torch.allclose(found[site], wanted[site], rtol=0, atol=1e-10), site
    return True


def test_psa_gives_every_weight_half_the_difference_of_the_loss_between_its_signs():
    model, guide, x, y = tiny()

    def lean(**options):
        return sbn.TraceEstimator_ELBO(EXACT_PSA, temperature=0.3, **options)

    loss, found = over_all_paths(lean, model, guide, x, y)
    weights = signs_of(guide)
    assert loss == pytest.approx(float(expected_loss(model, weights, x, y, 0.3)), abs=1e-10)
    assert same(found, half_differences(model, guide, x, y, 0.3))


@pytest.mark.parametrize("stock", [Trace_ELBO, TraceMeanField_ELBO])
@pytest.mark.parametrize("unrolled", [False, True])
def test_stock_elbos_have_the_same_gradient_in_the_handler(stock, unrolled):
    model, guide, x, y = tiny()

    def wrap(guide):
        return sbn.EstimatorMessenger(EXACT_PSA)(guide.unrolled() if unrolled else guide)

    loss, found = over_all_paths(stock, model, guide, x, y, wrap)
    assert loss == pytest.approx(float(expected_loss(model, signs_of(guide), x, y)), abs=1e-10)
    assert same(found, half_differences(model, guide, x, y))


def test_the_exact_bound_is_the_expected_loss_with_its_differences():
    model, guide, x, y = tiny()
    loss = sbn.TraceEstimator_ELBO("exact").loss_and_grads(model, guide, x, y)
    assert loss == pytest.approx(float(expected_loss(model, signs_of(guide), x, y)), abs=1e-10)
    assert same({s: guide.leaf(s).grad for s in SITES}, half_differences(model, guide, x, y))


def test_enumeration_by_pyro_sums_over_the_activations_alone():
    model, guide, x, y = tiny()
    enumerated = config_enumerate(guide.unrolled())
    loss = TraceEnum_ELBO(max_plate_nesting=1).loss(model, enumerated, x, y)
    assert loss == pytest.approx(float(expected_loss(model, signs_of(guide), x, y)), abs=1e-10)


def regression(x, y=None):
    law = sbn.SignBernoulli(logits=torch.full((3, 4), PRIOR_LOGIT)).to_event(2)
    w = pyro.sample("w", law)
    with pyro.plate("data", 5, dim=-1):
        return pyro.sample("y", sbn.AffineCategorical(sbn.affine(x, w, scale=0.5)), obs=y)


def regression_loss(w, x, y):
    likelihood = (0.5 * x @ w.T).log_softmax(1)[torch.arange(5), y].sum()
    return -likelihood - torch.nn.functional.logsigmoid(PRIOR_LOGIT * w.detach()).sum()


@pytest.mark.parametrize("elbo", ["st", Trace_ELBO()], ids=["st", "no handler"])
def test_straight_through_is_the_derivative_at_the_signs(elbo):
    x, y = torch.randn(5, 4), torch.arange(5) % 3
    guide = sbn.guides.AutoSignDelta(regression, example=(x,))
    elbo = sbn.TraceEstimator_ELBO(elbo) if isinstance(elbo, str) else elbo
    loss = elbo.loss_and_grads(regression, guide, x, y)
    w = torch.where(guide.leaf("w").detach() >= 0, 1.0, -1.0).requires_grad_()
    wanted = regression_loss(w, x, y)
    (slope,) = torch.autograd.grad(wanted, w)
    assert loss == pytest.approx(float(wanted.detach()), abs=1e-10)
    assert torch.allclose(guide.leaf("w").grad, slope - PRIOR_LOGIT / 2, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["psa", "local"])
def test_flips_are_the_differences_of_the_loss_without_chance(name):
    x, y = sbn.as_signs(torch.where(torch.randn(5, 4) > 0, 1.0, -1.0)), torch.arange(5) % 3
    guide = sbn.guides.AutoSignDelta(regression, example=(x,))
    sbn.TraceEstimator_ELBO(name).loss_and_grads(regression, guide, x, y)
    w = torch.where(guide.leaf("w").detach() >= 0, 1.0, -1.0)
    for place in itertools.product(range(3), range(4)):
        losses = []
        for sign in (1.0, -1.0):
            changed = w.clone()
            changed[place] = sign
            losses.append(regression_loss(changed, x, y))
        wanted = (losses[0] - losses[1]) / 2
        assert torch.allclose(guide.leaf("w").grad[place], wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_estimator_trains_the_weights_or_refuses(name):
    model, guide, x, y = tiny()
    options = {} if name == "exact" else {"num_particles": 2, "vectorize_particles": True}
    elbo = sbn.TraceEstimator_ELBO(name, max_plate_nesting=1, **options)
    if name in WORKING:
        elbo.loss_and_grads(model, guide, x, y)
        # beyond the constant slope of the prior
        gradients = [guide.leaf(s).grad + PRIOR_LOGIT / 2 for s in SITES]
        assert all(torch.isfinite(g).all() and g.abs().max() > 1e-3 for g in gradients)
    else:
        with pytest.raises(TypeError, match="a point mass on ±1 weights has no"):
            elbo.loss_and_grads(model, guide, x, y)


def test_activations_may_have_a_score_where_weights_have_exact_flips():
    model, guide, x, y = tiny()
    chosen = poutine.infer_config(
        model, lambda site: {"estimator": "score"} if site["name"] == "x1" else {}
    )
    mixed = sbn.guides.AutoSignDelta(chosen, example=(x, y))
    with torch.no_grad():
        for site in SITES:
            mixed.leaf(site).copy_(guide.leaf(site))

    def lean(**options):
        return sbn.TraceEstimator_ELBO(EXACT_PSA, **options)

    _, found = over_all_paths(lean, model, mixed, x, y)
    wanted = half_differences(model, guide, x, y)
    # what comes after the activations has exact flips as ever
    assert torch.allclose(found[SITES[1]], wanted[SITES[1]], rtol=0, atol=1e-10)
    assert (found[SITES[0]] + PRIOR_LOGIT / 2).abs().max() > 1e-3


def data():
    g = torch.Generator().manual_seed(0)
    centres = 1.5 * torch.randn(4, 8, generator=g)
    y = torch.arange(200) % 4
    return centres[y] + 0.5 * torch.randn(200, 8, generator=g), y


def fitted(steps=80):
    x, y = data()
    torch.manual_seed(1)
    model = sbn.models.BinaryMLP(8, [24], 4, num_data=200)
    guide = sbn.guides.AutoSignDelta(model)
    optim = sbn.optim.MirrorDescent({"lr": 0.05})
    svi = SVI(model, guide, optim, loss=sbn.TraceEstimator_ELBO("psa", temperature="auto"))
    losses = [svi.step(x, y) for _ in range(steps)]
    return model, guide, x, y, losses


def test_training_flips_weights_and_the_export_is_one_network_of_fixed_bits(tmp_path):
    torch.manual_seed(1)
    start = sbn.guides.AutoSignDelta(sbn.models.BinaryMLP(8, [24], 4, num_data=200))
    model, guide, x, y, losses = fitted()
    before, after = signs_of(start), signs_of(guide)
    assert any(bool((before[s] != after[s]).any()) for s in SITES)
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    posterior = sbn.Posterior.from_guide(model, guide)
    assert posterior.entropy == 0
    for layer, site in zip(posterior.layers, SITES, strict=True):
        assert np.array_equal(2 * layer.probabilities - 1, after[site].numpy())
    assert posterior.mode().digest == posterior.digest
    posterior.save(tmp_path / "delta.sbn")
    loaded = sbn.Posterior.load(tmp_path / "delta.sbn")
    assert loaded.digest == posterior.digest
    predictions = loaded.draw(32, seed=3).predict(x)
    assert (predictions.mean.argmax(-1) == y.numpy()).mean() > 0.9


def test_draws_of_an_export_differ_in_their_activations_alone():
    model, guide, x, y, _ = fitted(steps=1)
    with torch.no_grad():
        model.hidden[0].scale = torch.full((24,), 1e6)  # activations are decided
        model.hidden[0].bias = torch.full((24,), 100.0)  # also where the sum is 0
    probs = sbn.Posterior.from_guide(model, guide).draw(8, seed=3).predict(x).probs_per_draw
    assert np.ptp(probs, axis=0).max() == 0
    bernoulli = sbn.guides.AutoSignBernoulli(model)
    model(x, y)
    probs = sbn.Posterior.from_guide(model, bernoulli).draw(8, seed=3).predict(x).probs_per_draw
    assert np.ptp(probs, axis=0).max() > 0


def test_a_summary_tells_that_nothing_is_undecided():
    model, guide, x, y = tiny()
    summary = sbn.summary(model, guide, (x, y))
    assert summary.mean("entropy") == 0
    assert summary.mean("certainty") == 1


def test_model_and_guide_can_be_pickled_copied_and_loaded():
    model, guide, *_ = fitted(steps=2)
    for other_model, other in (
        pickle.loads(pickle.dumps((model, guide))),
        copy.deepcopy((model, guide)),
    ):
        assert other.model is other_model
        assert all(torch.equal(other.leaf(s), guide.leaf(s)) for s in SITES)
    buffer = io.BytesIO()
    torch.save(guide.state_dict(), buffer)
    buffer.seek(0)
    fresh = sbn.guides.AutoSignDelta(sbn.models.BinaryMLP(8, [24], 4, num_data=200))
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    assert all(torch.equal(fresh.leaf(s), guide.leaf(s)) for s in SITES)
    assert sorted(fresh.state_dict()) == [f"posterior.{s}" for s in SITES]


def test_leaves_step_by_mirror_descent():
    model, guide, x, y = tiny()
    options = {"lr": 0.1, "adaptive": False, "real": ("SGD", {"lr": 0.0})}
    before = {s: guide.leaf(s).detach().clone() for s in SITES}
    wanted = half_differences(model, guide, x, y)
    optim = sbn.optim.MirrorDescent(options)
    SVI(model, guide, optim, loss=sbn.TraceEstimator_ELBO("exact")).step(x, y)
    for site in SITES:
        moved = before[site] - 0.1 * wanted[site]
        assert torch.allclose(guide.leaf(site).detach(), moved, rtol=0, atol=1e-10)


def test_zero_is_a_plus_one_and_nan_is_an_error():
    _, guide, _, _ = tiny()
    with torch.no_grad():
        guide.leaf(SITES[0]).copy_(torch.tensor([[0.0, -0.0], [1e-300, -1e-300], [8.0, -8.0]]))
    found = guide.weight_probabilities()[SITES[0]]
    assert torch.equal(found, torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]]))
    with torch.no_grad():
        guide.leaf(SITES[1])[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r'AutoSignDelta.*site "output.weight" are NaN'):
        guide.weight_probabilities()


def test_errors_name_this_guide():
    with pytest.raises(ValueError, match=r"^AutoSignDelta: the model has no ±1 weights"):
        sbn.guides.AutoSignDelta(lambda x: x, example=(torch.ones(1),))
    with pytest.raises(RuntimeError, match=r"write AutoSignDelta\(model, example"):
        sbn.guides.AutoSignDelta(lambda x: x).weight_probabilities()
    with pytest.raises(ValueError, match=r"AutoSignDelta\(init_scale=-1\)"):
        sbn.guides.AutoSignDelta(lambda x: x, init_scale=-1)
