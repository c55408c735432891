"""PackedPredictive: what ``pyro.infer.Predictive`` returns, key by key, and what is refused."""

import re

import numpy as np
import pytest
import torch
from pyro.infer import Predictive

import bayes_sbn as sbn
from bayes_sbn.predictive import PackedPredictive
from tests.predictive_networks import (
    NETWORKS,
    SITES,
    OwnNetwork,
    looks,
    network,
    rows,
    stock,
    with_guide,
)


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


def test_a_model_of_ones_own_keeps_its_names_and_order():
    model, guide = with_guide(OwnNetwork())
    for args in ({"inputs": rows()}, {"inputs": rows(), "targets": torch.arange(7) % 3}):
        found = PackedPredictive(model, guide, num_samples=4)(**args)
        assert list(found) == ["upper.weight", "lower.weight", "fires", "choice"]
        assert looks(found) == looks(Predictive(model, guide=guide, num_samples=4)(**args))


# What is refused.


def test_guides_of_ones_own_are_sent_to_predictive():
    model, guide = network()
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
    model, guide = with_guide(OwnNetwork(returns_pair=True))
    assert list(PackedPredictive(model, guide, 3, ("choice",))(rows())) == ["choice"]
    with pytest.raises(ValueError, match="the model returns something else than its labels"):
        PackedPredictive(model, guide, 3, ("_RETURN",))(rows())
    model, guide = OwnNetwork(extra=True), sbn.guides.AutoSignBernoulli(OwnNetwork())
    words = r'samples "z", of law Normal, and packed networks are.*Write pyro\.infer\.Predictive\('
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
    with pytest.raises(TypeError, match=r"x is torch\.float32 but the model's parameters"):
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
