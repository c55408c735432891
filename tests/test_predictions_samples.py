"""Predictions of samples as Predictive returns them; rows taken; variance in its parts."""

import numpy as np
import pyro
import pytest
import torch
from pyro import distributions as dist
from pyro.infer import Predictive
from scipy.special import softmax

from bayes_sbn import Predictions
from tests.chance import numpy_generator

LOGITS = numpy_generator("samples").normal(size=(6, 5, 3))
PROBS = softmax(LOGITS, -1)


def model(x):
    w = pyro.sample("w", dist.Normal(torch.zeros(3, 2), 1.0).to_event(2))
    logits = pyro.deterministic("logits", x @ w.T, event_dim=1)
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Categorical(logits=logits))


def test_of_stock_predictive():
    samples = Predictive(model, num_samples=8)(torch.randn(4, 2))
    pred = Predictions.from_predictive(samples, logits="logits")
    wanted = softmax(samples["logits"].numpy().reshape(8, 4, 3), -1)
    assert np.allclose(pred.probs_per_draw, wanted, atol=1e-15)
    of_labels = Predictions.from_predictive(samples, labels="y", num_classes=3)
    labels = samples["y"].numpy()
    assert np.allclose(of_labels.mean, np.eye(3)[labels].mean(0), atol=1e-15)


def test_axes_that_predictive_puts_in_are_taken_out():
    for values in (PROBS, PROBS[:, None], torch.tensor(PROBS)[:, None, None]):
        pred = Predictions.from_predictive({"p": values}, probs="p", attrs={"k": 1})
        assert np.array_equal(pred.probs_per_draw, PROBS)
        assert pred.attrs == {"k": 1}
    with pytest.raises(ValueError, match=r"'p' has shape \(6, 2, 5, 3\); it must be \(draw, row"):
        Predictions.from_predictive({"p": np.stack([PROBS, PROBS], 1)}, probs="p")


def test_a_single_row_and_draw():
    pred = Predictions.from_predictive({"p": PROBS[:1, :1]}, probs="p")
    assert pred.shape == (1, 1, 3)


def test_frequencies_answer_for_the_mean_and_refuse_the_rest(tmp_path):
    labels = np.array([[0, 2], [0, 1], [1, 1], [0, 1]])
    pred = Predictions.from_predictive({"y": labels}, labels="y", num_classes=3)
    assert np.array_equal(pred.mean, [[0.75, 0.25, 0], [0, 0.75, 0.25]])
    assert pred.attrs == {"frequencies_of": 4}
    assert np.array_equal(pred.mode, [0, 1])
    assert pred.entropy.shape == (2,)
    pred.save(tmp_path / "f.npz")
    for each in (pred, Predictions.load(tmp_path / "f.npz"), pred.take([1])):
        for ask in (
            lambda p: p.epistemic,
            lambda p: p.aleatoric,
            lambda p: p.std,
            lambda p: p.interval(),
            lambda p: p.decompose(),
            lambda p: p.epistemic_variance,
        ):
            with pytest.raises(ValueError, match="frequencies of sampled labels"):
                ask(each)


@pytest.mark.parametrize(
    ("samples", "options", "error", "words"),
    [
        ({"p": PROBS}, {}, ValueError, "one of probs=, logits=, labels=.* received none"),
        ({"p": PROBS}, {"probs": "p", "logits": "p"}, ValueError, "received probs='p', logits='p'"),
        ({"p": PROBS}, {"probs": "q"}, ValueError, "no site 'q' in the samples, which have 'p'"),
        ([1], {"probs": "p"}, TypeError, "a dict of samples by site: received list"),
        ({"y": [[0, 1]]}, {"labels": "y"}, ValueError, "needs num_classes with labels="),
        ({"y": [[0, 3]]}, {"labels": "y", "num_classes": 3}, ValueError, "labels in 0 ... 2"),
        ({"p": 2 * PROBS}, {"probs": "p"}, ValueError, "Predictions"),
        ({"p": np.full((1, 1, 2), np.nan)}, {"logits": "p"}, ValueError, "finite logits"),
    ],
)
def test_samples_that_are_not_allowed(samples, options, error, words):
    with pytest.raises(error, match=words):
        Predictions.from_predictive(samples, **options)


def test_logits_of_minus_infinity_are_probabilities_of_zero():
    pred = Predictions.from_predictive({"l": [[[0.0, -np.inf]]]}, logits="l")
    assert np.array_equal(pred.mean, [[1.0, 0.0]])


def test_variance_of_a_class_by_the_law_of_total_variance():
    pred = Predictions(PROBS)
    assert np.array_equal(pred.variance, pred.aleatoric_variance + pred.epistemic_variance)
    assert np.allclose(pred.aleatoric_variance, (PROBS * (1 - PROBS)).mean(0), atol=1e-14)
    assert np.allclose(pred.epistemic_variance, PROBS.var(0), atol=1e-14)
    one = Predictions(PROBS[:1])
    assert not one.epistemic_variance.any()
    assert np.array_equal(one.variance, one.aleatoric_variance)


def test_take_keeps_rows_in_order():
    pred = Predictions(PROBS, attrs={"seed": 1})
    part = pred.take(np.array([4, 0]))
    assert np.array_equal(part.probs_per_draw, PROBS[:, [4, 0]])
    assert part.attrs == pred.attrs
    assert len(pred.take(np.zeros(5, bool))) == 0
