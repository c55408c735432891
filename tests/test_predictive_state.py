"""PackedPredictive: seeds and generators, parameters that change, memory, and no traces."""

import tracemalloc

import pyro
import torch

import bayes_sbn as sbn
from bayes_sbn.models.mlp import BinaryMLP
from bayes_sbn.predictive import PackedPredictive
from tests.predictive_networks import SITES, network, rows


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
