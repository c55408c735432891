"""AutoHybrid: both kinds of weights in one guide, and what it refuses."""

import itertools
import pickle

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.distributions import Delta, Gamma, Independent, Normal
from pyro.infer import Predictive

import bayes_sbn as sbn
from bayes_sbn.dual import leaf_of
from tests.hybrid_networks import ENDS, data, hybrid


def trace_of(fn, *args):
    return poutine.trace(fn).get_trace(*args)


def with_real_bias(x, y=None):
    """A model as a function, with a normal bias."""
    w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(3, 4)).to_event(2))
    b = pyro.sample("b", Normal(torch.zeros(3), 2.0).to_event(1))
    with pyro.plate("data", len(x), dim=-1):
        return pyro.sample("y", sbn.AffineCategorical(sbn.affine(x, w, b)), obs=y)


def test_parameters_are_eager_local_and_named():
    _, guide = hybrid(kind="normal")
    assert [name for name, _ in guide.named_parameters()] == [
        "posterior.hidden.1.weight",
        "posterior.hidden.0.weight.loc",
        "posterior.hidden.0.weight.log_spread",
        "posterior.output.weight.loc",
        "posterior.output.weight.log_spread",
    ]
    _, point = hybrid(kind="point")
    assert "posterior.output.weight.log_spread" not in point.state_dict()
    guide(*data())
    assert not dict(pyro.get_param_store().named_parameters())


def test_laws_are_mean_field_and_both_traces_come_of_one_pass():
    for kind, law in (("normal", Independent), ("point", Delta)):
        model, guide = hybrid(kind=kind)
        guide(*data())
        model_trace, guide_trace = guide.get_traces()
        site = guide_trace.nodes["output.weight"]
        assert isinstance(site["fn"], law)
        assert site["fn"].event_dim == 2
        loc, spread = guide.real_weights()["output.weight"]
        assert torch.allclose(site["fn"].mean, loc)
        assert torch.allclose(site["fn"].variance, spread**2)
        prior = model_trace.nodes["output.weight"]["fn"]
        assert isinstance(prior.base_dist, Normal)
        assert model_trace.nodes["output.weight"]["value"] is site["value"]
        assert isinstance(guide_trace.nodes["hidden.1.weight"]["fn"], sbn.SignBernoulli)
        del model


def test_unrolled_guide_has_the_same_laws():
    model, guide = hybrid(kind="normal")
    trace = trace_of(guide.unrolled(), *data())
    sampled = [name for name, site in trace.nodes.items() if site["type"] == "sample"]
    assert sampled == ["hidden.0.weight", "hidden.1.weight", "output.weight", "data", "x1", "x2"]
    loc, spread = guide.real_weights()["output.weight"]
    assert torch.allclose(trace.nodes["output.weight"]["fn"].mean, loc)
    assert torch.allclose(trace.nodes["output.weight"]["fn"].stddev, spread)
    replayed = trace_of(poutine.replay(model, trace=trace), *data())
    assert torch.equal(
        replayed.nodes["output.weight"]["value"], trace.nodes["output.weight"]["value"]
    )


def test_start_is_a_draw_of_the_prior_with_a_tenth_of_its_spread():
    model = sbn.models.BinaryMLP(100, [300], 10, num_data=5, real=("first",))
    guide = sbn.guides.AutoHybrid(model, generator=torch.Generator().manual_seed(0))
    loc, spread = guide.real_weights()["hidden.0.weight"]
    assert torch.allclose(spread, torch.full((300, 100), 0.01))
    assert float(loc.std()) == pytest.approx(0.1, rel=0.02)
    assert abs(float(loc.mean())) < 0.003
    again = sbn.guides.AutoHybrid(model, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.real_weights()["hidden.0.weight"][0], loc)


def test_real_leaves_are_moved_by_the_real_optimiser():
    model, guide = hybrid(kind="normal")
    guide(*data())
    for name in ("loc", "log_spread"):
        known = leaf_of(getattr(guide.real_site("output.weight"), name))
        assert (known.path, known.is_dual) == (f"posterior.output.weight.{name}", False)
    before = {name: p.detach().clone() for name, p in guide.named_parameters()}
    optim = sbn.optim.MirrorDescent({"lr": 0.0, "real": ("SGD", {"lr": 0.1})})
    elbo = sbn.TraceEstimator_ELBO("psa")
    pyro.infer.SVI(model, guide, optim, loss=elbo).step(*data())
    moved = {n for n, p in guide.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {name for name in before if name != "posterior.hidden.1.weight"}
    assert set(optim.get_state()) >= set(before)


def test_state_dict_and_pickle_give_the_same_guide():
    model, guide = hybrid(kind="normal")
    with torch.no_grad():
        guide.real_site("output.weight").log_spread.sub_(1.0)
    fresh = sbn.guides.AutoHybrid(model)
    fresh.load_state_dict(guide.state_dict())
    copied = pickle.loads(pickle.dumps(guide))
    for other in (fresh, copied):
        for site, (loc, spread) in guide.real_weights().items():
            assert torch.equal(other.real_weights()[site][0], loc)
            assert torch.equal(other.real_weights()[site][1], spread)
    assert set(copied(*data())) >= {"output.weight", "hidden.1.weight"}
    with pytest.raises(RuntimeError, match="log_spread"):
        sbn.guides.AutoHybrid(model, "point").load_state_dict(guide.state_dict())


def test_kinds_may_differ_by_site():
    model, _ = hybrid()
    guide = sbn.guides.AutoHybrid(model, {"output.weight": "point"})
    assert guide.real_site("output.weight").kind == "point"
    assert guide.real_site("hidden.0.weight").kind == "normal"
    assert "output.weight (3, 2) point" in repr(guide)
    with pytest.raises(ValueError, match=r"'w' is no real site of the model, which has 'hidden.0"):
        sbn.guides.AutoHybrid(model, {"w": "point"})
    for wrong in ("delta", {"output.weight": "laplace"}):
        with pytest.raises(ValueError, match="real weights are 'normal' or 'point'"):
            sbn.guides.AutoHybrid(model, wrong)


def test_a_function_is_set_up_by_its_example_or_its_first_call():
    x, y = torch.randn(5, 4), torch.zeros(5, dtype=torch.long)
    eager = sbn.guides.AutoHybrid(with_real_bias, example=(x, y))
    assert eager.real_weights()["b"][0].shape == (3,)
    late = sbn.guides.AutoHybrid(with_real_bias)
    assert not late.is_set_up
    with pytest.raises(RuntimeError, match=r"AutoHybrid.real_weights: .*example=\(x\[:2\],\)"):
        late.real_weights()
    sbn.TraceEstimator_ELBO("psa").loss_and_grads(with_real_bias, late, x, y)
    assert float(late.real_site("b").loc.grad.abs().max()) > 0


def test_guides_of_signs_alone_name_this_one():
    x = torch.randn(5, 4)
    words = r'AutoSignBernoulli: site "b" has law Normal; .* Write AutoHybrid\(model\) for it'
    with pytest.raises(TypeError, match=words):
        sbn.guides.AutoSignBernoulli(with_real_bias, example=(x,))
    model, _ = hybrid()
    with pytest.raises(TypeError, match=r'AutoSignDelta: site "hidden.0.weight" .*AutoHybrid'):
        sbn.guides.AutoSignDelta(model)


def test_other_laws_and_subsampled_plates_are_refused():
    def gamma(x):
        pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(3)).to_event(1))
        pyro.sample("g", Gamma(torch.ones(2), 1.0).to_event(1))

    with pytest.raises(TypeError, match=r'site "g" has law Gamma; .*Normal prior too. Make it a'):
        sbn.guides.AutoHybrid(gamma, example=(torch.ones(2),))

    def inside(x):
        pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(3)).to_event(1))
        with pyro.plate("data", 10, subsample=x):
            pyro.sample("z", Normal(0.0, 1.0))

    with pytest.raises(ValueError, match=r'weights of site "z" .* subsampled plate "data"'):
        sbn.guides.AutoHybrid(inside, example=(torch.ones(2),))


def test_leaf_is_of_signs_and_real_site_of_the_rest():
    _, guide = hybrid()
    assert guide.leaf("hidden.1.weight").shape == (2, 2)
    with pytest.raises(KeyError, match=r"no natural parameter. Write guide.real_site"):
        guide.leaf("output.weight")
    with pytest.raises(KeyError, match="the real sites are"):
        guide.real_site("hidden.1.weight")


@pytest.mark.parametrize("kind", ["normal", "point"])
def test_predictive_of_pyro_runs(kind):
    model, guide = hybrid(kind=kind)
    x, _ = data()
    for parallel in (False, True):
        found = Predictive(
            model, guide=guide.unrolled(), num_samples=4, parallel=parallel, return_sites=["y"]
        )(x)
        assert found["y"].shape == (4, 3)


def real_network(*sizes):
    modules = []
    for inputs, outputs in itertools.pairwise(sizes):
        modules += [torch.nn.Linear(inputs, outputs), torch.nn.Tanh()]
    return torch.nn.Sequential(*modules[:-1])


@pytest.mark.parametrize("real", [("first",), ("last",), ENDS], ids=str)
def test_from_real_takes_weights_of_real_layers_as_they_are(real):
    model = sbn.models.BinaryMLP(5, [6, 7], 3, num_data=5, real=real)
    network = real_network(5, 6, 7, 3)
    guide = sbn.guides.AutoHybrid.from_real(model, network, share=0.2)
    linear = {"hidden.0": network[0], "hidden.1": network[2], "output": network[4]}
    for name, layer in linear.items():
        gain = 1.0 if name == "output" else 2.0  # of tanh against logistic noise
        wanted = gain * layer.weight.detach()
        site, units = f"{name}.weight", model.get_submodule(name)
        if site in guide.real_weights():
            loc, spread = guide.real_weights()[site]
            least = 0.01 * wanted.square().mean().sqrt()
            assert torch.allclose(spread, 0.2 * wanted.abs().maximum(least))
        else:
            mean = 2 * guide.weight_probabilities()[site] - 1
            loc = units.scale.detach()[:, None] * mean
        assert torch.allclose(loc, wanted, atol=1e-9)
        assert torch.allclose(units.bias, gain * layer.bias)


def test_from_real_of_points_and_its_errors():
    model = sbn.models.BinaryMLP(5, [6], 3, num_data=5, real=("last",))
    network = real_network(5, 6, 3)
    guide = sbn.guides.AutoHybrid.from_real(model, network, real="point")
    assert not guide.real_weights()["output.weight"][1].any()
    np.testing.assert_allclose(
        guide.real_weights()["output.weight"][0], network[2].weight.detach(), atol=1e-12
    )
    with pytest.raises(ValueError, match=r"AutoHybrid.from_real\(share=0\): .*real=\"point\""):
        sbn.guides.AutoHybrid.from_real(model, network, share=0)
    with pytest.raises(ValueError, match=r"weights of shape \(4, 6\)"):
        sbn.guides.AutoHybrid.from_real(model, real_network(5, 6, 4))
    with torch.no_grad():
        network[2].weight.zero_()
    guide = sbn.guides.AutoHybrid.from_real(model, network)
    spread = guide.real_weights()["output.weight"][1]
    assert torch.allclose(spread, torch.full_like(spread, 0.1 / 6**0.5))


def test_a_model_without_real_weights_is_taken_too():
    model = sbn.models.BinaryMLP(5, [6], 3, num_data=5)
    guide = sbn.guides.AutoHybrid(model)
    assert guide.real_weights() == {}
    assert sbn.Posterior.from_guide(model, guide).num_real_weights == 0
