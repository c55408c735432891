"""to_arviz: what may be given and what is refused, and what does not change a bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from tests.analysis.posteriors import labelled, measured, regression_posterior, restarts
from tests.plain_networks import random_posterior

OPTIONS = {"num_draws": 7, "num_activations": 3, "num_prior_draws": 5, "seed": 4}
X, Y = labelled()
POSTERIOR = random_posterior(temperature=0.2)
ENSEMBLE = POSTERIOR.draw(7, 4)


def test_tensors_float32_and_names():
    x = torch.tensor(X, dtype=torch.float32)
    kwargs = {"class_names": ["a", "b", "c"], "feature_names": list("vwxyz")}
    given = sbn.to_arviz(POSTERIOR, x, torch.tensor(Y), **OPTIONS, **kwargs)
    assert list(given["variational"]["class"].values) == ["a", "b", "c"]
    assert list(given["constant_data"]["feature"].values) == list("vwxyz")
    same = sbn.to_arviz(POSTERIOR, x.numpy(), Y, **OPTIONS)
    assert given["log_likelihood"].equals(same["log_likelihood"])


def test_one_draw_one_row_one_activation_and_no_prior():
    given = sbn.to_arviz(POSTERIOR, X[:1], Y[:1], num_draws=1, num_activations=1, num_prior_draws=0)
    assert given["log_likelihood"]["y"].shape == (1, 1, 1)
    assert "prior" not in given
    assert "log_lik_mcse" not in given["sample_stats"]


def test_memory_bound_does_not_change_a_bit():
    idata = sbn.to_arviz(POSTERIOR, X, Y, **OPTIONS)
    small = sbn.to_arviz(POSTERIOR, X, Y, **OPTIONS, max_memory=1 << 16)
    assert small["log_likelihood"].equals(idata["log_likelihood"])
    assert small["posterior_predictive"].equals(idata["posterior_predictive"])


def test_statistics_measured_by_each_draw_take_the_rows_of_the_fit():
    layers = list(POSTERIOR.layers)
    layers[0] = replace(layers[0], normalisation_eps=1e-5)
    posterior = sbn.Posterior(layers, 2.0**-10)
    given = sbn.to_arviz(posterior, X, Y, **OPTIONS)
    named = sbn.to_arviz(posterior, X, Y, **OPTIONS, calibrate=X)
    other = sbn.to_arviz(posterior, X, Y, **OPTIONS, calibrate=X[:6])
    assert given["log_likelihood"].equals(named["log_likelihood"])
    assert not given["log_likelihood"].equals(other["log_likelihood"])


WRONG = {
    "posterior": (lambda: sbn.to_arviz(ENSEMBLE, X, Y), TypeError, "needs a Posterior"),
    "none": (lambda: sbn.to_arviz([], X, Y), ValueError, "empty"),
    "labels": (lambda: sbn.to_arviz(POSTERIOR, X, Y + 1), ValueError, r"to_arviz\(y=...\)"),
    "no_labels": (lambda: sbn.to_arviz(POSTERIOR, X, None), TypeError, "labels or targets y"),
    "rows": (lambda: sbn.to_arviz(POSTERIOR, X[:3], Y), ValueError, "12 labels for 3 rows"),
    "no_rows": (lambda: sbn.to_arviz(POSTERIOR, X[:0], Y[:0]), ValueError, "at least one row"),
    "columns": (lambda: sbn.to_arviz(POSTERIOR, X[:, 1:], Y), ValueError, "shape"),
    "nan": (lambda: sbn.to_arviz(POSTERIOR, X * np.nan, Y), ValueError, "finite"),
    "test": (lambda: sbn.to_arviz(POSTERIOR, X, Y, y_test=Y), ValueError, "x_test is not"),
    "draws": (lambda: sbn.to_arviz(POSTERIOR, X, Y, num_draws=0), ValueError, "num_draws"),
    "classes": (
        lambda: sbn.to_arviz(POSTERIOR, X, Y, class_names="abc"),
        ValueError,
        "3 class_names",
    ),
    "twice": (
        lambda: sbn.to_arviz(POSTERIOR, X, Y, class_names=["a", "a", "b"]),
        ValueError,
        "twice",
    ),
    "components": (
        lambda: sbn.to_arviz(POSTERIOR, X, Y, components="all"),
        ValueError,
        "components='chains'",
    ),
    "weights": (
        lambda: sbn.to_arviz(sbn.Posterior.mixture(restarts(2), [1, 2]), X, Y),
        ValueError,
        "components='mixed'",
    ),
    "sizes": (
        lambda: sbn.to_arviz([POSTERIOR, random_posterior((5, 8, 7, 3))], X, Y),
        ValueError,
        "temperature|sizes",
    ),
    "real": (
        lambda: sbn.to_arviz(regression_posterior(), *measured(), class_names=["a"]),
        ValueError,
        "target is real",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case):
    call, error, words = WRONG[case]
    with pytest.raises(error, match=words):
        call()


def test_layers_of_one_name_are_told_apart():
    layers = [replace(layer, name="a/b") for layer in POSTERIOR.layers]
    given = sbn.to_arviz(sbn.Posterior(layers, 2.0**-10), X, Y, **OPTIONS)
    assert {"a.b.0.agreement", "a.b.2.agreement"} <= set(given["posterior"])
