"""PackedPredictive: what ``pyro.infer.Predictive`` returns, of the same law, without its traces."""

import re
import tracemalloc
from contextlib import nullcontext

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import Predictive
from pyro.nn import PyroModule
from scipy.special import softmax

import bayes_sbn as sbn
from bayes_sbn.models.mlp import BinaryMLP
from bayes_sbn.predictive import PackedPredictive
from tests import oracles
from tests.chance import assert_count, seed, torch_generator
from tests.oracle_networks import Layer, Net

SITES = ["hidden.0.weight", "hidden.1.weight", "output.weight", "x1", "x2", "y"]


def rows(number: int = 7, inputs: int = 5) -> torch.Tensor:
    """On the grid of the inputs, so that no rounding takes place."""
    drawn = torch.randn(number, inputs, generator=torch_generator("predictive"))
    return (drawn * 64).round() / 64


def network(guide: str = "AutoSignBernoulli", **options):
    model = sbn.models.BinaryMLP(5, [4, 3], 3, num_data=50, **options)
    return model, getattr(sbn.guides, guide)(model)


NETWORKS = {
    "mean field": network,
    "no hidden layer": lambda: _with_guide(sbn.models.BinaryMLP(5, [], 3, num_data=50)),
    "signs": lambda: network("AutoSignDelta"),
    "mixture": lambda: network("AutoSignMixture"),
    "factors": lambda: network("AutoSignLowRank"),
    "real ends": lambda: network("AutoHybrid", real=("first", "last")),
    "float32": lambda: tuple(part.float() for part in network()),
}


def _with_guide(model):
    return model, sbn.guides.AutoSignBernoulli(model)


def looks(samples):
    """Keys in their order, shapes and dtypes."""
    return [(name, tuple(value.shape), value.dtype) for name, value in samples.items()]


def stock(model, guide, *args, **options):
    return Predictive(model, guide=guide, **options)(*args)


# Keys, shapes, dtypes.


@pytest.mark.parametrize("noise", ["independent", "shared"])
@pytest.mark.parametrize("name", NETWORKS)
def test_samples_look_like_those_of_predictive(name, noise):
    model, guide = NETWORKS[name]()
    dtype = model.output.bias.dtype
    x, y = rows().to(dtype), torch.arange(7) % 3
    for args in ((x,), (x, y), (x, y.to(torch.int32)), (x[:1],)):
        for options in (
            {"num_samples": 1},
            {"num_samples": 7},  # as many as rows
            {"num_samples": 4, "return_sites": None},
            {"num_samples": 4, "return_sites": ("y",)},
            {"num_samples": 4, "return_sites": ["_RETURN", "output.weight"]},
            {"num_samples": 4, "return_sites": {"_RETURN", "y"}},
        ):
            found = PackedPredictive(model, guide, noise=noise, **options)(*args)
            wanted = stock(model, guide, *args, **options)
            assert looks(found) == looks(wanted)
            assert not any(value.requires_grad for value in found.values())
            assert all(value.is_contiguous() for value in found.values())


@pytest.mark.parametrize("number", [4, 7])
def test_parallel_changes_nothing(number):
    model, guide = network()
    x = rows()
    found, wanted = (
        PackedPredictive(model, guide, num_samples=number, parallel=parallel, seed=3)(x)
        for parallel in (True, False)
    )
    assert looks(found) == looks(stock(model, guide, x, num_samples=number))
    assert all(torch.equal(found[name], wanted[name]) for name in SITES)


def test_no_rows_give_no_labels():
    """Where Predictive divides by zero."""
    model, guide = network()
    with pytest.raises(ZeroDivisionError):
        stock(model, guide, rows(0), num_samples=3)
    found = PackedPredictive(model, guide, num_samples=3)(rows(0))
    assert [tuple(value.shape) for value in found.values()] == [
        *[(3, 1, 4, 5), (3, 1, 3, 4), (3, 1, 3, 3)],
        *[(3, 0, 4), (3, 0, 3), (3, 0)],
    ]


def test_observed_labels_are_returned_as_they_are():
    model, guide = network()
    x, y = rows(), torch.arange(7) % 3
    sites = ("y", "_RETURN", "x1")
    for found in (
        stock(model, guide, x, y, num_samples=4, return_sites=sites),
        PackedPredictive(model, guide, num_samples=4, return_sites=sites)(x, y),
        PackedPredictive(model, guide, num_samples=4, return_sites=sites)(y=y, x=x),
    ):
        assert torch.equal(found["y"], y.expand(4, 7))
        assert torch.equal(found["_RETURN"], y.expand(4, 7))


def test_call_gives_a_tuple_in_the_order_of_names():
    model, guide = network()
    predictive = PackedPredictive(model, guide, num_samples=4, return_sites=("y", "x1"), seed=0)
    first, second = predictive.call(rows())
    assert isinstance(predictive, Predictive)
    assert torch.equal(first, predictive(rows())["x1"])
    assert torch.equal(second, predictive(rows())["y"])


class OwnNetwork(PyroModule):
    """A model of one's own that states its architecture, with names of its own."""

    def __init__(self, *, returns_pair: bool = False, extra: bool = False) -> None:
        super().__init__()
        self.lower = sbn.models.BinaryLinear(5, 4)
        self.upper = sbn.models.BinaryLinear(4, 3)
        self.returns_pair, self.extra = returns_pair, extra

    def forward(self, inputs, targets=None):
        upper = self.upper.weight
        lower = self.lower.weight
        if self.extra:
            pyro.sample("z", pyro.distributions.Normal(0.0, 1.0))
        with pyro.plate("people", 90, subsample=inputs, dim=-1):
            h = pyro.sample("fires", sbn.NoisySign(sbn.affine(inputs, lower, self.lower.bias)))
            law = sbn.AffineCategorical(sbn.affine(h, upper, self.upper.bias))
            choice = pyro.sample("choice", law, obs=targets)
        return (h, choice) if self.returns_pair else choice

    def architecture(self):
        layers = [("lower", self.lower, "logistic"), ("upper", self.upper, None)]
        return {
            "likelihood": "categorical",
            "input_scale": 2.0**-10,
            "layers": [
                {
                    "name": name,
                    "weight_site": f"{name}.weight",
                    "scale": torch.ones(layer.out_features),
                    "bias": layer.bias.detach().clone(),
                    "noise": noise,
                    "noise_scale": 1.0,
                }
                for name, layer, noise in layers
            ],
        }


def test_a_model_of_ones_own_keeps_its_names_and_order():
    model, guide = _with_guide(OwnNetwork())
    for args in ({"inputs": rows()}, {"inputs": rows(), "targets": torch.arange(7) % 3}):
        found = PackedPredictive(model, guide, num_samples=4)(**args)
        assert list(found) == ["upper.weight", "lower.weight", "fires", "choice"]
        assert looks(found) == looks(Predictive(model, guide=guide, num_samples=4)(**args))


# The law.


def tiny():
    """A network whose every state is listed, fitted to nothing, sure enough to be of interest."""
    generator = torch_generator("tiny")
    model = sbn.models.BinaryMLP(2, [2], 2, num_data=10)
    guide = sbn.guides.AutoSignBernoulli(model, generator=generator)
    with torch.no_grad():
        for layer in (*model.hidden, model.output):
            for value in layer.parameters():
                value.normal_(generator=generator)
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
        net = net.with_parameter("head.bias", net.head.bias + [0.0, 0.3])
    expected = oracles.predictive_mean(net, x.numpy())[:, 1]
    with pytest.raises(AssertionError, match="p-value") if is_other else nullcontext():
        assert_count(ones, NUM_SAMPLES, expected, detects=0.03)


@pytest.mark.parametrize("noise", ["independent", "shared"])
def test_rows_of_a_draw_are_independent_given_its_weights_unless_they_share_noise(noise):
    """Two equal rows, whose activations Predictive draws one by one; shared noise is the control."""
    model, guide, net = tiny()
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
    """They are the networks of ``Posterior.draw``; their weights and activations give its logits."""
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


# Chance, state and memory.


def test_a_seed_names_the_networks_whatever_else_is_asked_for():
    model, guide = network()
    x = rows(200)
    whole = PackedPredictive(model, guide, 40, seed=2)(x)
    for options in (
        {"return_sites": ("y", "x2")},
        {"backend": "reference"},
        {"max_memory": 40_000},
        {"num_samples": 10},
    ):
        found = PackedPredictive(model, guide, **{"num_samples": 40, "seed": 2} | options)(x)
        for name, value in found.items():
            assert torch.equal(value, whole[name][: options.get("num_samples", 40)])
    fewer = PackedPredictive(model, guide, 40, seed=2)(x[:50])
    assert torch.equal(fewer["y"], whole["y"][:, :50])
    assert torch.equal(fewer["x2"], whole["x2"][:, :50])


def test_a_seed_leaves_the_generators_alone():
    model, guide = network()
    before = torch.get_rng_state()
    PackedPredictive(model, guide, 4, seed=2)(rows())
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_seed_each_call_takes_one_of_the_global_generator():
    model, guide = network()
    x = rows(50)
    predictive = PackedPredictive(model, guide, 6)
    runs = []
    for _ in range(2):  # the first call learns the sites, the others know them
        pyro.set_rng_seed(7)
        runs.append([predictive(x), predictive(x)])
    (first, second), again = runs
    for one, other in zip((first, second), again, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in SITES)
    assert not torch.equal(first["hidden.0.weight"], second["hidden.0.weight"])
    assert not torch.equal(first["y"], second["y"])


class Counting(BinaryMLP):
    """Notes how many rows each run of the model has."""

    def forward(self, x, y=None):
        self.__dict__.setdefault("runs", []).append(len(x))
        return super().forward(x, y)


def test_the_model_is_run_once_on_two_rows_and_again_when_it_has_changed():
    model = Counting(5, [4, 3], 3, num_data=50)
    guide = sbn.guides.AutoSignBernoulli(model)
    predictive = PackedPredictive(model, guide, 30, seed=1)
    x = rows(20)
    before = predictive(x)
    predictive(x[:4])
    assert model.runs == [2]
    guide.leaf("hidden.0.weight").data.neg_()  # which no version counter of torch sees
    after = predictive(x)
    assert model.runs == [2, 2]
    assert not torch.equal(before["hidden.0.weight"], after["hidden.0.weight"])
    fresh = PackedPredictive(model, guide, 30, seed=1)(x)
    assert all(torch.equal(after[name], fresh[name]) for name in SITES)
    with torch.no_grad():
        model.output.bias_unconstrained.add_(torch.tensor([0.0, 0.0, 99.0]))
    assert bool((predictive(x)["y"] == 2).all())


def test_predicting_leaves_the_model_as_it_is():
    model, guide = network()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    PackedPredictive(model, guide, 4)(rows(), torch.arange(7) % 3)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert model.training


def test_handlers_around_it_see_nothing():
    model, guide = network()
    predictive = PackedPredictive(model, guide, 4)
    with pyro.poutine.trace() as trace:
        predictive(rows())
    assert list(trace.trace.nodes) == []


def test_memory_does_not_grow_with_what_is_not_returned():
    """Of 300 draws of 80 000 weights and 400 rows; tracemalloc counts NumPy's arrays."""
    model = sbn.models.BinaryMLP(20, [300, 250], 4, num_data=50)
    guide = sbn.guides.AutoSignBernoulli(model)
    predictive = PackedPredictive(model, guide, 300, ("y",), max_memory=4 << 20)
    x = rows(400, 20)
    sbn.Posterior.from_guide(model, guide)
    tracemalloc.start()
    try:
        labels = predictive(x)["y"]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    weights, activations = 300 * 81_000 / 8, 300 * 400 * 550
    # what the posterior and the kernels hold of the weights, 50 bytes each, and the bound
    assert peak < labels.numel() * 8 + 50 * 82_000 + (4 << 20) + weights + (1 << 20)
    assert peak < activations / 4


# What is refused.


def test_models_and_guides_of_ones_own_are_sent_to_predictive():
    def my_model(x):
        return x

    model, guide = network()
    words = r"received my_model, which has no architecture\(\)\. Write pyro\.infer\.Predictive\("
    with pytest.raises(TypeError, match=words):
        PackedPredictive(my_model, guide, num_samples=3)
    words = r"received UnrolledGuide\. Write pyro\.infer\.Predictive\(model, guide=guide"
    with pytest.raises(TypeError, match=words):
        PackedPredictive(model, guide.unrolled(), num_samples=3)
    with pytest.raises(TypeError, match=r"received NoneType\. .*without guide=guide it draws"):
        PackedPredictive(model, None, num_samples=3)


def test_options_that_are_not_known_are_refused():
    model, guide = network()
    for options, error, words in (
        ({"num_samples": 0}, ValueError, "num_samples=0): at least one network is drawn. Write"),
        ({"return_sites": "y"}, TypeError, "return_sites='y'): they are a list, tuple or set of"),
        ({"noise": "logistic"}, ValueError, "noise='logistic'): it is one of 'shared', 'indep"),
        ({"backend": "gpu"}, ValueError, "backend='gpu'): it is one of 'auto', 'reference'"),
        ({"seed": -1}, ValueError, "seed=-1): a seed is an integer in [0, 2**64)"),
    ):
        with pytest.raises(error, match=re.escape(words)):
            PackedPredictive(model, guide, **{"num_samples": 3} | options)


def test_sites_that_are_not_there_are_named():
    model, guide = network()
    words = r"no site 'x3'\. Its sites are 'hidden\.0\.weight', .*'y', and '_RETURN' is what"
    with pytest.raises(ValueError, match=words):
        PackedPredictive(model, guide, 3, ("y", "x3"))(rows())


def test_sites_that_packed_networks_lack_are_named():
    model, guide = _with_guide(OwnNetwork(returns_pair=True))
    assert list(PackedPredictive(model, guide, 3, ("choice",))(rows())) == ["choice"]
    with pytest.raises(ValueError, match="the model returns something else than its labels"):
        PackedPredictive(model, guide, 3, ("_RETURN",))(rows())
    model, guide = OwnNetwork(extra=True), sbn.guides.AutoSignBernoulli(OwnNetwork())
    words = r'samples "z", of law Normal, and packed networks have.*Write pyro\.infer\.Predictive\('
    with pytest.raises(ValueError, match=words):
        PackedPredictive(model, guide, 3)(rows())


def test_arguments_that_do_not_fit_are_refused():
    model, guide = network()
    predictive = PackedPredictive(model, guide, 3)
    x = rows()
    with pytest.raises(TypeError, match=r"x is a tensor of shape \(rows, inputs\): received list"):
        predictive(x.tolist())
    with pytest.raises(TypeError, match=r"received shape \(5,\)\. Write torch\.as_tensor"):
        predictive(x[0])
    with pytest.raises(ValueError, match=r"y has one label for each of 7 rows, shape \(7,\): rec"):
        predictive(x, torch.zeros(3))
    with pytest.raises(TypeError, match="x is torch.float32 but the model's parameters"):
        predictive(x.float())
    with pytest.raises(ValueError, match=r"x has shape \(2, 4\); it must be \(rows, 5\)"):
        predictive(x[:, :4])
    with pytest.raises(TypeError, match="missing a required argument: 'x'"):
        predictive()
    with pytest.raises(TypeError, match="too many positional arguments"):
        predictive(x, None, None)


def test_rows_beyond_the_grid_are_refused_and_a_range_admits_them():
    model, guide = network()
    x = rows() + 40
    words = r"largest magnitude of the rows is 4.*reaches to ±.*input_range=float\(abs\(x\)\.max"
    with pytest.raises(ValueError, match=words):
        PackedPredictive(model, guide, 3)(x)
    with pytest.raises(ValueError, match="of the rows is nan"):
        PackedPredictive(model, guide, 3)(torch.full((2, 5), torch.nan))
    found = PackedPredictive(model, guide, 3, input_range=float(abs(x).max()))(x)
    assert looks(found) == looks(stock(model, guide, x, num_samples=3))


def test_recalibrated_networks_need_rows_and_others_refuse_them():
    model, guide = network(normalisation="recalibrated")
    x = rows()
    words = r'statistics of "hidden\.0", "hidden\.1" for itself.*PackedPredictive\(\.\.\., calibra'
    with pytest.raises(ValueError, match=words):
        PackedPredictive(model, guide, 3)(x)
    predictive = PackedPredictive(model, guide, 3, calibrate=rows(30), seed=4)
    found = predictive(x)
    assert looks(found) == looks(stock(model, guide, x, num_samples=3))
    ensemble = sbn.Posterior.from_guide(model, guide).draw(3, seed=4, calibrate=rows(30))
    np.testing.assert_array_equal(found["y"], ensemble.labels(x, noise="independent"))
    with pytest.raises(ValueError, match=r"calibrate=\.\.\.\): none of the layers is recalibr"):
        PackedPredictive(*network(), 3, calibrate=rows(30))(x)
