"""BinaryMLP: what it samples, what it refuses, and its plain numbers."""

import math

import pyro
import pytest
import torch
from pyro import poutine
from pyro.nn import PyroModule, PyroParam

import bayes_sbn as sbn


def mlp(**options):
    options = {"num_data": 20, **options}
    return sbn.models.BinaryMLP(4, [8, 6], 3, **options)


def trace_of(model, *args):
    return poutine.trace(model).get_trace(*args)


def test_sites_shapes_and_plate():
    model = mlp(noise="gaussian")
    trace = trace_of(model, torch.randn(5, 4), torch.zeros(5, dtype=torch.long))
    shapes = {
        name: tuple(site["value"].shape)
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and name != "data"
    }
    assert shapes == {
        "hidden.0.weight": (8, 4),
        "hidden.1.weight": (6, 8),
        "output.weight": (3, 6),
        "x1": (5, 8),
        "x2": (5, 6),
        "y": (5,),
    }
    assert trace.nodes["y"]["scale"] == 20 / 5
    assert trace.nodes["hidden.0.weight"]["scale"] == 1
    assert trace.nodes["x1"]["fn"].noise == sbn.noise.Gaussian()


def test_log_prob_is_that_of_the_network_by_hand():
    model = mlp()
    x, y = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    trace = trace_of(model, x, y)
    h = x
    for k, layer in enumerate([*model.hidden, model.output]):
        name = f"hidden.{k}" if k < 2 else "output"
        w = trace.nodes[f"{name}.weight"]["value"]
        a = layer.scale * (h @ w.T) + layer.bias
        h = trace.nodes[f"x{k + 1}"]["value"] if k < 2 else None
    wanted = torch.distributions.Categorical(logits=a).log_prob(y)
    assert torch.allclose(trace.nodes["y"]["fn"].log_prob(y), wanted, atol=1e-12)


def test_without_labels_it_samples_them_for_any_number_of_rows():
    assert mlp(num_data=2)(torch.randn(50, 4)).shape == (50,)


def test_start_is_one_over_root_fan_in():
    model = mlp()
    assert torch.allclose(model.hidden[1].scale, torch.full((6,), 1 / math.sqrt(8)))
    assert torch.equal(model.hidden[1].bias, torch.zeros(6))


def test_prior_logit_reaches_the_sites():
    trace = trace_of(mlp(prior_logit=1.5), torch.randn(5, 4))
    assert torch.equal(trace.nodes["output.weight"]["fn"].logits, torch.full((3, 6), 1.5))


def test_architecture_states_the_network():
    model = mlp(noise=sbn.noise.Uniform(2.0))
    model(torch.tensor([[0.5, -2.0, 0.0, 1.0]]), torch.tensor([1]))
    stated = model.architecture()
    assert stated["likelihood"] == "categorical"
    assert [layer["weight_site"] for layer in stated["layers"]] == [
        "hidden.0.weight",
        "hidden.1.weight",
        "output.weight",
    ]
    assert [(la["noise"], la["noise_scale"]) for la in stated["layers"]] == [
        ("uniform", 2.0),
        ("uniform", 2.0),
        (None, 1.0),
    ]
    step = stated["input_scale"]
    assert math.log2(step).is_integer()
    assert 2.0 * 4 <= 32767 * step < 2.0 * 4 * 2.1


def test_it_works_as_part_of_a_users_module():
    class Doubled(PyroModule):
        def __init__(self):
            super().__init__()
            self.gain = PyroParam(torch.tensor(2.0))
            self.net = mlp()

        def forward(self, x, y=None):
            return self.net(self.gain * x, y)

    model = Doubled()
    guide = sbn.guides.AutoSignBernoulli(model)
    assert next(n for n, _ in guide.named_parameters()) == "posterior.net.hidden.0.weight"
    elbo = sbn.TraceEstimator_ELBO("st")
    svi = pyro.infer.SVI(model, guide, sbn.optim.MirrorDescent({"lr": 0.1}), loss=elbo)
    x, y = torch.randn(20, 4), torch.zeros(20, dtype=torch.long)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    svi.step(x, y)
    moved = [n for n, p in model.named_parameters() if not torch.equal(before[n], p)]
    # the gain scales real inputs before the first layer: straight-through reaches it too
    assert sorted(moved) == sorted(before)
    model.net(x)  # and on its own


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_data": None}, r"num_data=...\) is missing.*num_data=len\(x\)"),
        ({"num_data": 0}, "num_data is 0"),
        ({"num_data": 2.5}, "num_data is 2.5"),
        ({"noise": "cauchy"}, "noise='cauchy' is not known; it is one of 'logistic'"),
    ],
)
def test_wrong_options_are_errors(options, words):
    with pytest.raises(ValueError, match=words):
        mlp(**options)


def test_wrong_sizes_are_errors():
    with pytest.raises(ValueError, match="size 0"):
        sbn.models.BinaryMLP(4, [0], 3, num_data=5)
    with pytest.raises(TypeError, match=r"a list of layer widths; write \[5\]"):
        sbn.models.BinaryMLP(4, 5, 3, num_data=5)
    with pytest.raises(ValueError, match="at least 2 classes"):
        sbn.models.BinaryMLP(4, [5], 1, num_data=5)


@pytest.mark.parametrize(
    ("x", "y", "error", "words"),
    [
        (torch.ones(5, 3), None, ValueError, r"x has shape \(5, 3\).*reshape\(-1, 4\)"),
        (torch.ones(5, 4, dtype=torch.long), None, TypeError, "must be a floating point tensor"),
        ([[1.0] * 4], None, TypeError, "x is list"),
        (torch.ones(5, 4).double(), None, TypeError, r"float64 but .*x.to\(torch.float32\)"),
        (torch.ones(5, 4), torch.zeros(4), ValueError, r"one label per row, shape \(5,\)"),
        (torch.ones(30, 4), torch.zeros(30), ValueError, "30 rows with labels.*num_data=20"),
        (torch.ones(2, 4), torch.tensor([0, 3]), ValueError, "integers from 0 to 2"),
        (torch.ones(2, 4), torch.tensor([0, -1]), ValueError, "integers from 0 to 2"),
        (torch.ones(2, 4), torch.tensor([0.0, 0.5]), ValueError, "integers from 0 to 2"),
    ],
)
def test_wrong_data_are_errors(x, y, error, words):
    model = mlp().float()
    guide = sbn.guides.AutoSignBernoulli(model)
    if y is None:
        with pytest.raises(error, match=words):
            model(x)
    else:
        with pytest.raises(error, match=words):
            sbn.TraceEstimator_ELBO("psa").loss(model, guide, x, y)


def test_nan_in_the_data_is_named():
    x = torch.ones(5, 4)
    x[3, 1] = math.nan
    with pytest.raises(ValueError, match="NaN or infinite values, first in row 3"):
        mlp()(x)
