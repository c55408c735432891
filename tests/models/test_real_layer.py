"""Layers with real weights: what they sample and refuse, and what BinaryMLP does with them."""

import math
import pickle

import pyro
import pytest
import torch
from pyro import poutine

import bayes_sbn as sbn
from bayes_sbn.models import BinaryLinear, RealLinear, RealWeightPrior


def mlp(real=("first", "last"), **options):
    return sbn.models.BinaryMLP(4, [8, 6], 3, num_data=20, real=real, **options)


def trace_of(model, *args):
    return poutine.trace(model).get_trace(*args)


@pytest.mark.parametrize(
    ("real", "kinds"),
    [
        ((), "sss"),
        (("first",), "rss"),
        (["last"], "ssr"),
        (("first", "last"), "rsr"),
        ({"hidden.1"}, "srs"),
        (("hidden.0", "first", "output"), "rsr"),
    ],
    ids=str,
)
def test_names_say_which_layers_are_real(real, kinds):
    model = mlp(real)
    found = [
        "r" if isinstance(layer, RealLinear) else "s" for layer in [*model.hidden, model.output]
    ]
    assert "".join(found) == kinds
    assert all(isinstance(la, (RealLinear, BinaryLinear)) for la in [*model.hidden, model.output])


def test_sites_are_normal_outside_the_plate_with_the_prior_scale():
    trace = trace_of(mlp(), torch.randn(5, 4), torch.zeros(5, dtype=torch.long))
    for name, shape in (("hidden.0.weight", (8, 4)), ("output.weight", (3, 6))):
        site = trace.nodes[name]
        assert site["value"].shape == shape
        assert site["scale"] == 1
        law = site["fn"].base_dist
        assert torch.equal(law.loc, torch.zeros(shape))
        assert torch.allclose(law.scale, torch.full(shape, 1 / math.sqrt(shape[1])))
        assert site["fn"].event_dim == 2
    given = trace_of(mlp(real_prior_scale=0.7), torch.randn(5, 4))
    assert torch.equal(given.nodes["output.weight"]["fn"].stddev, torch.full((3, 6), 0.7))


def test_log_prob_is_that_of_the_network_by_hand():
    model = mlp()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x, y = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    trace = trace_of(model, x, y)
    value = {name: site["value"] for name, site in trace.nodes.items() if site["type"] == "sample"}
    first, second = model.hidden
    for k, (layer, h) in enumerate(
        ((first, x), (second, value["x1"]), (model.output, value["x2"]))
    ):
        name = f"hidden.{k}.weight" if k < 2 else "output.weight"
        a = h @ value[name].T
        a = a + layer.bias if k != 1 else layer.scale * a + layer.bias
        if k < 2:
            up = torch.sigmoid(a)
            wanted = torch.where(value[f"x{k + 1}"] > 0, up, 1 - up).log().sum(-1)
            found = trace.nodes[f"x{k + 1}"]["fn"].log_prob(value[f"x{k + 1}"])
            assert torch.allclose(found, wanted, atol=1e-12)
    wanted = torch.distributions.Categorical(logits=a).log_prob(y)
    assert torch.allclose(trace.nodes["y"]["fn"].log_prob(y), wanted, atol=1e-12)


def test_parameters_are_local_and_there_is_no_scale_beside_real_weights():
    names = sorted(name for name, _ in mlp().named_parameters())
    assert names == [
        "hidden.0.bias_unconstrained",
        "hidden.1.bias_unconstrained",
        "hidden.1.scale_unconstrained",
        "output.bias_unconstrained",
    ]
    mlp()(torch.randn(2, 4))
    assert not dict(pyro.get_param_store().named_parameters())


def test_state_dict_pickle_and_dtype():
    model = mlp()
    with torch.no_grad():
        model.output.bias_unconstrained.add_(1.0)
    again = mlp()
    again.load_state_dict(model.state_dict())
    copied = pickle.loads(pickle.dumps(model))
    for other in (again, copied):
        assert torch.equal(other.output.bias, model.output.bias)
    assert copied.output.prior_scale == model.output.prior_scale
    single = mlp().float()
    trace = trace_of(single, torch.randn(3, 4, dtype=torch.float32))
    assert trace.nodes["hidden.0.weight"]["value"].dtype == torch.float32


def test_vectorised_particles_draw_weights_of_their_own():
    model = mlp()
    with pyro.plate("particles", 7, dim=-2):
        trace = trace_of(model, torch.randn(5, 4))
    assert trace.nodes["hidden.0.weight"]["value"].shape == (7, 1, 8, 4)
    assert trace.nodes["output.weight"]["value"].shape == (7, 1, 3, 6)
    assert trace.nodes["y"]["value"].shape == (7, 5)


def test_architecture_has_scales_of_one():
    stated = mlp().architecture()["layers"]
    assert torch.equal(stated[0]["scale"], torch.ones(8))
    assert stated[0]["weight_site"] == "hidden.0.weight"
    assert torch.allclose(stated[1]["scale"], torch.full((6,), 1 / math.sqrt(8)))


@pytest.mark.parametrize(
    ("real", "error", "words"),
    [
        ("first", TypeError, r"real='first'\): real is a collection of names. Write real=\("),
        (5, TypeError, "real is a collection of names"),
        ((0,), TypeError, "real is a collection of names"),
        (("hidden.7",), ValueError, r"no layer 'hidden.7'; the layers are 'hidden.0', 'hidden.1'"),
        (("all",), ValueError, "there is no layer 'all'"),
        (("first", "hidden.1", "last"), ValueError, "all 3 layers would have real weights"),
    ],
    ids=str,
)
def test_wrong_names_are_errors(real, error, words):
    with pytest.raises(error, match=words):
        mlp(real)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_prior_scale_that_is_none_is_an_error(scale):
    with pytest.raises(ValueError, match=r"RealWeightPrior\(scale=.*positive finite"):
        mlp(real_prior_scale=scale)
    with pytest.raises(ValueError, match="positive finite"):
        RealWeightPrior(scale)


def test_printing_tells_the_prior():
    assert "RealLinear(6, 3, prior_scale=0.4082)" in str(mlp())
