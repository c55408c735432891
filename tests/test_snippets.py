"""The code that users are promised, as they would type it, in one piece.

``tests/snippets/design.txt`` is text and not a module, so that no formatter touches it.  It is
executed as it stands, in float32 and a folder of its own, and what came out must make sense.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyro
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.estimators.estimator import REGISTRY

SNIPPET = Path(__file__).parent / "snippets" / "design.txt"


@pytest.fixture
def snippet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict]:
    """What the snippet leaves behind."""
    torch.set_default_dtype(torch.float32)
    monkeypatch.chdir(tmp_path)
    registered = dict(REGISTRY)
    namespace = {"__name__": "design"}
    try:
        exec(compile(SNIPPET.read_text("utf-8"), str(SNIPPET), "exec"), namespace)
        yield namespace
    finally:
        REGISTRY.clear()
        REGISTRY.update(registered)


def test_snippet_runs_as_written_and_what_comes_out_is_sensible(snippet):
    check_fit(snippet)
    check_fit_in_one_call(snippet)
    check_own_model(snippet)
    check_own_estimator(snippet)
    check_predictions(snippet)
    check_analysis(snippet)


def check_fit(snippet):
    assert snippet["elbo"].temperature == pytest.approx(
        1437 * np.log(10) / (10 * snippet["posterior"].num_weights * np.log(2))
    )
    leaves = snippet["guide"].state_dict()
    assert sorted(leaves) == [
        "posterior.hidden.0.weight",
        "posterior.hidden.1.weight",
        "posterior.output.weight",
    ]
    assert all(bool(torch.isfinite(leaf).all()) for leaf in leaves.values())


def check_fit_in_one_call(snippet):
    fit = snippet["fit"]
    assert len(fit.history) == fit.epoch == 50
    assert fit.history[-1].validation_nll < fit.history[0].validation_nll
    assert (Path("run") / "log.jsonl").is_file()


def check_own_model(snippet):
    gradient = snippet["my_guide"].leaf("w1").grad
    assert gradient.shape == (32, 64)
    assert bool(torch.isfinite(gradient).all())
    assert int((gradient != 0).sum()) > gradient.numel() // 2
    store = pyro.get_param_store()
    assert all(store._params[name].grad is not None for name in ("w2", "b2"))


def check_own_estimator(snippet):
    assert REGISTRY["mine"] is snippet["Mine"]
    assert "mine" in sbn.estimators.table()
    leaf = snippet["my_guide"].leaf("w1")
    gradients = []
    for estimator in ("mine", "st"):  # the same rule, hence the same gradient of the same draws
        leaf.grad = None
        torch.manual_seed(0)
        elbo = sbn.TraceEstimator_ELBO(estimator)
        elbo.loss_and_grads(*(snippet[name] for name in ("my_model", "my_guide", "x", "y")))
        gradients.append(leaf.grad)
    assert torch.equal(*gradients)


def check_predictions(snippet):
    posterior, pred, y_test = (snippet[name] for name in ("posterior", "pred", "y_test"))
    assert Path("digits.sbn").is_file()
    made = sbn.Posterior.from_guide(snippet["model"], snippet["guide"])
    assert posterior.digest == made.digest
    assert 0 < posterior.bits_per_weight < 1

    assert len(snippet["ensemble"]) == 200
    assert pred.probs_per_draw.shape == (200, 360, 10)
    assert pred.mean.sum(-1) == pytest.approx(1.0)
    assert np.array_equal(pred.aleatoric + pred.epistemic, pred.entropy)
    parts = pred.decompose(correction="jackknife")
    assert np.array_equal(parts.aleatoric + parts.epistemic, parts.total)

    # the last 360 digits are of other writers: a support vector machine gets 94 % of them
    report = sbn.metrics.report(pred, y_test)
    assert report["accuracy"].value > 0.85
    assert report["nll"].value < 0.6
    assert report["ece"].value == sbn.metrics.ece(pred.mean, y_test) < 0.15
    single_draws = (pred.probs_per_draw.argmax(-1) == y_test.numpy()).mean()
    assert single_draws < report["accuracy"].value


def check_analysis(snippet):
    idata, posterior = snippet["idata"], snippet["posterior"]
    assert idata["posterior"].sizes == {"chain": 1, "draw": 500}
    assert float(idata["posterior"]["accuracy"].mean()) > 0.9
    found = sbn.diagnose(idata)
    # nobody reweights 84 480 weights: neither k-hat nor leave-one-out is to be had, and it says so
    (check,) = found.importance  # a posterior of SVI knows no temperature
    assert check.khat > 0.7
    assert not check.reliable
    assert found.elpd is None
    weights = sum(layer.num_weights for layer in found.layers)
    bits = sum(layer.num_weights * layer.bits for layer in found.layers)
    assert bits / weights == pytest.approx(posterior.bits_per_weight)


def test_snippet_leaves_no_estimator_behind():
    assert "mine" not in REGISTRY
