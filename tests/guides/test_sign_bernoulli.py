"""AutoSignBernoulli: eager parameters, state, isolation, and errors that say what to do."""

import copy
import io
import pickle

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Predictive, Trace_ELBO
from pyro.nn import PyroModule, PyroSample

import bayes_sbn as sbn


def data(rows=20, width=4, classes=3):
    torch.manual_seed(1)
    return torch.randn(rows, width), torch.randint(0, classes, (rows,))


def pair(width=4, classes=3, num_data=20, hidden=(8,), **options):
    model = sbn.models.BinaryMLP(width, list(hidden), classes, num_data=num_data)
    return model, sbn.guides.AutoSignBernoulli(model, **options)


def my_model(x, y=None):
    w1 = pyro.sample("w1", sbn.SignBernoulli(logits=torch.zeros(6, 4)).to_event(2))
    w2 = pyro.param("w2", lambda: 0.1 * torch.randn(3, 6))
    b2 = pyro.param("b2", torch.zeros(3))
    with pyro.plate("data", 20, subsample=x, dim=-1):
        h = pyro.sample("h", sbn.NoisySign(sbn.affine(x, w1, scale=0.5)))
        return pyro.sample("y", sbn.AffineCategorical(sbn.affine(h, w2, b2)), obs=y)


def train(model, guide, x, y, steps=3, optim=None):
    optim = optim or sbn.optim.MirrorDescent({"lr": 0.1})
    svi = SVI(model, guide, optim, loss=sbn.TraceEstimator_ELBO("psa"))
    for _ in range(steps):
        svi.step(x, y)
    return optim


def snapshot(module):
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def test_parameters_are_there_before_the_first_call():
    _, guide = pair()
    assert {n: tuple(p.shape) for n, p in guide.named_parameters()} == {
        "posterior.hidden.0.weight": (8, 4),
        "posterior.output.weight": (3, 8),
    }


def test_start_is_spread_as_asked_and_reproducible():
    wide = pair(50, hidden=(200,), init_scale=2.0)[1].leaf("hidden.0.weight")
    # 10 000 normal draws: the standard deviation has a relative error of 0.7 %
    assert float(wide.detach().std()) == pytest.approx(2.0, rel=0.05)
    first, second = (
        pair(generator=torch.Generator().manual_seed(3))[1].leaf("output.weight") for _ in "ab"
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, pair()[1].leaf("output.weight"))


def test_a_callable_is_eager_with_an_example_and_lazy_without():
    x, y = data()
    eager = sbn.guides.AutoSignBernoulli(my_model, example=(x[:2],))
    assert [n for n, _ in eager.named_parameters()] == ["posterior.w1"]
    lazy = sbn.guides.AutoSignBernoulli(my_model)
    assert not lazy.is_set_up
    with pytest.raises(RuntimeError, match=r"load_state_dict.*example=\(x\[:2\],\)"):
        lazy.load_state_dict(eager.state_dict())
    with pytest.raises(RuntimeError, match="weight_probabilities"):
        lazy.weight_probabilities()
    lazy(x, y)
    lazy.load_state_dict(eager.state_dict())
    assert torch.equal(lazy.leaf("w1"), eager.leaf("w1"))


def test_an_example_does_not_show_in_the_callers_trace():
    x, _ = data()
    with poutine.trace() as trace:
        sbn.guides.AutoSignBernoulli(my_model, example=(x[:2],))
    assert not [n for n, s in trace.trace.nodes.items() if s["type"] == "sample"]


def test_two_models_in_one_process_do_not_share_parameters():
    x, y = data()
    (model, guide), (other_model, other_guide) = pair(), pair()
    before = {**snapshot(other_model), **snapshot(other_guide)}
    train(model, guide, x, y)
    after = {**snapshot(other_model), **snapshot(other_guide)}
    assert all(torch.equal(before[n], after[n]) for n in before)
    assert not list(pyro.get_param_store().keys())


def test_a_second_instance_trains_every_parameter():
    x, y = data()
    for _ in range(2):  # the second as if a notebook cell were run again
        model, guide = pair()
        before = {**snapshot(model), **snapshot(guide)}
        train(model, guide, x, y)
        after = {**snapshot(model), **snapshot(guide)}
        assert len(before) == 6
        assert all(not torch.equal(before[n], after[n]) for n in before)


def test_models_of_different_widths_live_side_by_side():
    x, y = data()
    small, large = pair(hidden=(5,)), pair(hidden=(7,))
    train(*small, x, y)
    train(*large, x, y)
    train(*small, x, y)


def test_the_users_global_flag_is_untouched():
    x, y = data()
    for flag in (False, True):
        with pyro.settings.context(module_local_params=flag):
            model, guide = pair()
            train(model, guide, x, y, steps=1)
            assert pyro.settings.get("module_local_params") is flag


def test_a_callables_parameters_stay_in_the_global_store_and_train():
    x, y = data()
    guide = sbn.guides.AutoSignBernoulli(my_model, example=(x[:2],))
    w2 = pyro.param("w2").detach().clone()
    train(my_model, guide, x, y)
    assert sorted(pyro.get_param_store().keys()) == ["b2", "w2"]
    assert not torch.equal(pyro.param("w2"), w2)


def test_model_and_guide_can_be_pickled_and_copied():
    x, y = data()
    model, guide = pair()
    train(model, guide, x, y)
    state = snapshot(guide)
    for clone_model, clone_guide in (
        pickle.loads(pickle.dumps((model, guide))),
        copy.deepcopy((model, guide)),
    ):
        assert all(torch.equal(state[n], p) for n, p in clone_guide.named_parameters())
        assert clone_guide.model is clone_model
        train(clone_model, clone_guide, x, y)
        assert not torch.equal(clone_guide.leaf("output.weight"), guide.leaf("output.weight"))
    assert all(torch.equal(state[n], p) for n, p in guide.named_parameters())


def test_state_dict_loads_into_a_fresh_object_and_predicts_the_same():
    x, y = data()
    model, guide = pair()
    train(model, guide, x, y)
    buffer = io.BytesIO()
    torch.save({"model": model.state_dict(), "guide": guide.state_dict()}, buffer)
    buffer.seek(0)
    saved = torch.load(buffer, weights_only=True)
    fresh_model, fresh_guide = pair()
    fresh_model.load_state_dict(saved["model"])
    fresh_guide.load_state_dict(saved["guide"])
    losses = []
    for m, g in ((model, guide), (fresh_model, fresh_guide)):
        torch.manual_seed(5)
        losses.append(sbn.TraceEstimator_ELBO("psa").loss(m, g, x, y))
    assert losses[0] == losses[1]


def test_the_optimisers_state_survives_save_and_load(tmp_path):
    x, y = data()
    torch.manual_seed(0)
    model, guide = pair()
    optim = train(model, guide, x, y, steps=4)
    optim.save(tmp_path / "optim.pt")
    kept = copy.deepcopy((model.state_dict(), guide.state_dict()))
    assert sorted(optim.get_state()) == [
        "hidden.0.bias",
        "hidden.0.scale",
        "output.bias",
        "output.scale",
        "posterior.hidden.0.weight",
        "posterior.output.weight",
    ]
    torch.manual_seed(7)
    train(model, guide, x, y, steps=3, optim=optim)

    fresh_model, fresh_guide = pair()
    fresh_model.load_state_dict(kept[0])
    fresh_guide.load_state_dict(kept[1])
    loaded = sbn.optim.MirrorDescent({"lr": 0.1})
    loaded.load(tmp_path / "optim.pt")
    torch.manual_seed(7)
    train(fresh_model, fresh_guide, x, y, steps=3, optim=loaded)
    wanted = {**snapshot(model), **snapshot(guide)}
    found = {**snapshot(fresh_model), **snapshot(fresh_guide)}
    assert all(torch.equal(wanted[n], found[n]) for n in wanted)


def test_state_that_waits_for_its_parameters_is_not_lost(tmp_path):
    x, y = data()
    optim = train(*pair(), x, y)
    waiting = sbn.optim.MirrorDescent({"lr": 0.1})
    waiting.set_state(optim.get_state())
    assert sorted(waiting.get_state()) == sorted(optim.get_state())


def test_stock_elbo_steps_the_dual_leaf_by_the_natural_gradient():
    x, y = data()
    model, guide = pair()
    optim = sbn.optim.MirrorDescent({"lr": 0.01, "adaptive": False, "real": ("SGD", {"lr": 0.0})})
    before = guide.leaf("output.weight").detach().clone()
    start = copy.deepcopy(guide.state_dict())
    torch.manual_seed(2)
    SVI(model, guide, optim, loss=Trace_ELBO()).step(x, y)
    moved = guide.leaf("output.weight").detach().clone()
    guide.load_state_dict(start)
    torch.manual_seed(2)
    Trace_ELBO().differentiable_loss(model, guide, x, y).backward()
    wanted = (before - 0.01 * guide.leaf("output.weight").grad).clamp(-8, 8)
    assert torch.allclose(moved, wanted, atol=1e-12)


def test_a_name_that_model_and_guide_share_is_an_error():
    class Model(PyroModule):
        def __init__(self):
            super().__init__()
            self.posterior = PyroModule[torch.nn.Linear](4, 3)

        @PyroSample
        def weight(self):
            return sbn.SignBernoulli(logits=torch.zeros(3, 4)).to_event(2)

    with pytest.raises(
        ValueError, match=r"posterior.weight is the name .* in both model and guide"
    ):
        sbn.guides.AutoSignBernoulli(Model())


def test_predictive_of_pyro_runs_on_model_and_guide():
    x, y = data()
    model, guide = pair()
    train(model, guide, x, y)
    with torch.no_grad():
        draws = Predictive(model, guide=guide, num_samples=7, return_sites=("y",))(x)
    assert draws["y"].shape == (7, 20)


def test_a_real_latent_site_is_an_error_that_names_it():
    def model(x, y=None):
        pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(3, 4)).to_event(2))
        pyro.sample("sigma", pyro.distributions.LogNormal(0.0, 1.0))

    x, _ = data()
    with pytest.raises(TypeError, match=r'site "sigma" has law LogNormal.*guide as a function'):
        sbn.guides.AutoSignBernoulli(model, example=(x,))

    class Module(PyroModule):
        @PyroSample
        def slope(self):
            return pyro.distributions.Normal(0.0, 1.0)

        def forward(self, x):
            return x * self.slope

    with pytest.raises(TypeError, match='site "slope" has law Normal'):
        sbn.guides.AutoSignBernoulli(Module())


def test_the_guide_that_the_error_asks_for_has_gradients_of_all_its_parameters():
    def model(x, y=None):
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(5, 4)).to_event(2))
        v = pyro.sample("v", pyro.distributions.Normal(torch.zeros(3, 5), 1.0).to_event(2))
        with pyro.plate("data", len(x), dim=-1):
            h = pyro.sample("h", sbn.NoisySign(sbn.affine(x, w)))
            return pyro.sample("y", sbn.AffineCategorical(sbn.affine(h, v)), obs=y)

    def guide(x, y=None):
        leaf = pyro.param("leaf", lambda: torch.randn(5, 4))
        w = pyro.sample("w", sbn.SignBernoulli.from_natural(leaf).to_event(2))
        mean, spread = pyro.param("mean", torch.zeros(3, 5)), pyro.param("spread", torch.ones(3, 5))
        pyro.sample("v", pyro.distributions.Normal(mean, spread).to_event(2))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("h", sbn.NoisySign(sbn.affine(x, w)))

    sbn.TraceEstimator_ELBO("psa").loss_and_grads(model, guide, *data())
    for name in ("leaf", "mean", "spread"):
        gradient = pyro.param(name).unconstrained().grad
        assert torch.isfinite(gradient).all(), name
        assert (gradient != 0).all(), name


def test_weights_inside_a_subsampled_plate_are_an_error():
    def model(x, y=None):
        with pyro.plate("data", 20, subsample=x, dim=-1):
            pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(len(x), 4)).to_event(1))

    x, _ = data()
    with pytest.raises(ValueError, match='site "w" are sampled inside the subsampled plate "data"'):
        sbn.guides.AutoSignBernoulli(model, example=(x[:2],))


def test_a_model_without_sign_weights_is_an_error():
    with pytest.raises(ValueError, match="has no ±1 weights"):
        sbn.guides.AutoSignBernoulli(lambda x: x, example=(torch.ones(1),))


def test_a_site_that_the_declaration_hides_asks_for_an_example():
    class Model(PyroModule):
        @PyroSample
        def first(self):
            return sbn.SignBernoulli(logits=torch.zeros(3, 4)).to_event(2)

        def forward(self, x, y=None):
            _ = self.first
            w = pyro.sample("late", sbn.SignBernoulli(logits=torch.zeros(3, 4)).to_event(2))
            with pyro.plate("data", 20, subsample=x, dim=-1):
                return pyro.sample("y", sbn.AffineCategorical(sbn.affine(x, w)), obs=y)

    x, y = data()
    guide = sbn.guides.AutoSignBernoulli(Model())
    assert [n for n, _ in guide.named_parameters()] == ["posterior.first"]
    with pytest.raises(ValueError, match=r'site "late" was not found.*example='):
        guide(x, y)
    assert sbn.guides.AutoSignBernoulli(Model(), example=(x, y)).is_set_up


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gradient": "fisher"}, "'natural' or 'euclidean'"),
        ({"init_scale": -1.0}, "at least 0"),
    ],
)
def test_wrong_options_are_errors(options, words):
    with pytest.raises(ValueError, match=words):
        pair(**options)


def test_probabilities_are_those_of_the_leaves():
    _, guide = pair()
    found = guide.weight_probabilities()["output.weight"]
    assert found.dtype == torch.float64
    assert torch.allclose(found, torch.sigmoid(2 * guide.leaf("output.weight").detach()))
    assert torch.equal(guide.prior_probabilities()["output.weight"].unique(), torch.tensor([0.5]))
    with pytest.raises(KeyError, match="the ±1 weights are"):
        guide.leaf("nothing")
