"""The state of estimators: saved and continued by the ELBO, trained by SVI, kept by site."""

import copy
import io

import pyro
import pytest
import torch
from pyro.infer import SVI

import bayes_sbn as sbn
from bayes_sbn.estimators import EstimatorSet, ScoreFunction
from bayes_sbn.estimators.site_tensors import SiteTensors, key_of_site, site_of_key

X = torch.randn(12, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.arange(12) % 3


def model_of(choice=None) -> sbn.models.BinaryMLP:
    torch.manual_seed(5)
    model = sbn.models.BinaryMLP(4, [5, 4], 3, num_data=12)
    if choice is None:
        return model
    return WithChoice(model, choice)


class WithChoice(torch.nn.Module):
    """A model of which one site has an estimator of its own."""

    def __init__(self, inner, choice):
        super().__init__()
        self.inner = inner
        self.choice = (choice,)  # not a child: the ELBO alone saves its state

    def forward(self, x, y=None):
        def config(site):
            return {"estimator": self.choice[0]} if site["name"] == "x1" else {}

        return pyro.poutine.infer_config(self.inner, config)(x, y)


class Training:
    """A model, a guide, an optimiser and an ELBO, which can be saved and continued."""

    def __init__(self, estimator, choice=None, optim=None):
        self.model = model_of(choice)
        self.guide = sbn.guides.AutoSignBernoulli(self.model, example=(X[:2],))
        for name in self.guide.weight_probabilities():
            leaf = self.guide.leaf(name)
            leaf.data.copy_(torch.linspace(-1, 1, leaf.numel()).reshape(leaf.shape))
        self.elbo = sbn.TraceEstimator_ELBO(estimator, temperature="auto")
        self.optim = optim or sbn.optim.MirrorDescent({"lr": 0.1})
        self.svi = SVI(self.model, self.guide, self.optim, loss=self.elbo)

    def steps(self, number):
        return [self.svi.step(X, Y) for _ in range(number)]

    def save(self):
        file = io.BytesIO()
        state = {
            "model": self.model.state_dict(),
            "guide": self.guide.state_dict(),
            "optim": self.optim.get_state(),
            "elbo": self.elbo.state_dict(),
            "random": torch.get_rng_state(),
        }
        torch.save(state, file)
        file.seek(0)
        return file

    def load(self, file):
        state = torch.load(file, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.guide.load_state_dict(state["guide"])
        self.optim.set_state(state["optim"])
        self.elbo.load_state_dict(state["elbo"])
        torch.set_rng_state(state["random"])


def score(baseline):
    return ScoreFunction(baseline=baseline)


@pytest.mark.parametrize("baseline", ["running", "learned"])
@pytest.mark.parametrize("is_of_a_site", [False, True])
def test_a_saved_run_continues_bit_for_bit(baseline, is_of_a_site):
    def fresh():
        if is_of_a_site:
            return Training("psa", choice=score(baseline))
        return Training(score(baseline))

    first = fresh()
    torch.manual_seed(7)
    first.steps(4)
    file = first.save()
    wanted = first.steps(4)
    second = fresh()
    second.load(file)
    assert second.steps(4) == wanted
    for name, value in first.guide.state_dict().items():
        assert torch.equal(value, second.guide.state_dict()[name])
    third = fresh()  # without the estimators' state it goes elsewhere
    file.seek(0)
    third.load(file)
    third.elbo = sbn.TraceEstimator_ELBO(
        "psa" if is_of_a_site else score(baseline), temperature=second.elbo.temperature
    )
    third.svi = SVI(third.model, third.guide, third.optim, loss=third.elbo)
    third.steps(4)
    moved = first.model.state_dict()
    assert any(not torch.equal(v, third.model.state_dict()[k]) for k, v in moved.items())


def test_a_state_that_waits_for_its_site_is_saved_again():
    first = Training("psa", choice=score("running"))
    first.steps(2)
    state = first.elbo.state_dict()
    assert "sites.x1.means.x1" in state["estimators"]
    second = sbn.TraceEstimator_ELBO("psa", temperature="auto")
    second.load_state_dict(state)
    again = second.state_dict()
    assert again.keys() == state.keys()
    assert again["temperature"] == state["temperature"] < 1
    assert again["estimators"].keys() == state["estimators"].keys()
    for key, value in state["estimators"].items():
        assert torch.equal(again["estimators"][key], value)


def test_a_state_for_a_site_that_chose_an_estimator_without_one_is_an_error():
    first = Training("psa", choice=score("running"))
    first.steps(2)
    second = Training("psa", choice="st")
    second.elbo.load_state_dict(first.elbo.state_dict())
    with pytest.raises(ValueError, match=r'site "x1": the state that was loaded .* has none'):
        second.steps(1)


def test_a_copy_goes_its_own_way():
    training = Training(score("running"))
    training.steps(2)
    other = copy.deepcopy(training.elbo)
    before = other.estimator.means["x1"].clone()
    training.steps(1)
    assert torch.equal(other.estimator.means["x1"], before)
    assert not torch.equal(training.elbo.estimator.means["x1"], before)


def test_state_moves_with_the_module():
    training = Training(score("learned"))
    training.steps(3)
    moved = copy.deepcopy(training.elbo.estimator).to("meta")
    tensors = [*moved.buffers(), *moved.parameters()]
    assert len(tensors) == 5 + 5 + 5  # of two layers of units and three of weights
    assert all(tensor.is_meta for tensor in tensors)
    assert all(t.dtype == torch.float32 for t in training.elbo.estimator.float().buffers())


@pytest.mark.parametrize(
    "optim",
    [lambda: sbn.optim.MirrorDescent({"lr": 0.1}), lambda: pyro.optim.Adam({"lr": 0.02})],
    ids=["mirror", "adam"],
)
def test_svi_trains_the_parameters_of_estimators(optim):
    estimator = score("learned")
    training = Training(estimator, optim=optim())
    training.steps(2)
    levels = {site: estimator.levels[site].item() for site in estimator.levels}
    assert set(levels) == {
        "hidden.0.weight",
        "hidden.1.weight",
        "output.weight",
        "x1",
        "x2",
    }
    training.steps(3)
    assert all(estimator.levels[site].item() != value for site, value in levels.items())
    assert all(leaf.grad is None or not leaf.grad.any() for leaf in estimator.parameters())


def test_parameters_of_an_estimator_have_names_and_a_saved_optimiser_state():
    training = Training(score("learned"))
    training.steps(3)
    assert "estimators.default.levels.x1" in training.optim.get_state()


def test_torch_optimisers_see_the_parameters_of_estimators():
    network = torch.nn.Linear(5, 1)
    training = Training("psa", choice=ScoreFunction(baseline=network))
    module = training.elbo(training.model, training.guide)
    module(X, Y)
    assert {id(p) for p in network.parameters()} <= {id(p) for p in module.parameters()}
    module(X, Y).backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def test_a_site_that_chooses_by_name_keeps_its_instance():
    estimators = EstimatorSet("psa")
    assert estimators.of("h", None) is estimators.default
    chosen = estimators.of("h", "score")
    assert estimators.of("h", "score") is chosen
    assert estimators.of("other", "score") is not chosen
    assert estimators.of("h", "st") is not chosen
    assert not list(estimators.sites.children()) or "score" not in repr(estimators.of("h", "st"))


@pytest.mark.parametrize("site", ["w", "hidden.0.weight", "50%", "a.b%2Ec", "layer/1"])
def test_names_of_sites_survive_torch(site):
    assert site_of_key(key_of_site(site)) == site
    tensors, again = SiteTensors(), SiteTensors()
    assert site not in tensors
    assert tensors.get(site) is None
    tensors[site] = torch.tensor(2.5)
    tensors["other"] = torch.tensor([1.0, 2.0])
    again["stale"] = torch.tensor(0.0)
    again.load_state_dict(tensors.state_dict())
    assert set(again) == {site, "other"}
    assert len(again) == 2
    assert torch.equal(again[site], torch.tensor(2.5))
    again[site] = torch.tensor(3.0)
    assert float(tensors[site]) == 2.5
