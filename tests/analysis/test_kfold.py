"""kfold: folds that are what they should be, scores by hand, and leave-one-out exactly."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

import bayes_sbn as sbn
from bayes_sbn.analysis import exact_posterior, kfold
from bayes_sbn.analysis.folds import assign_folds
from tests.analysis.networks import classifier, guide_of, regressor


def exact_fit(model):
    return lambda x, y: exact_posterior(model, x, y)


@pytest.mark.parametrize("case", [classifier, regressor])
def test_leaving_out_one_row_is_the_quotient_of_evidences(case):
    """``log p(y_n | rest) = log p(all) - log p(rest) = -log E[1 / p(y_n | w)]``."""
    model, x, y = case(rows=6)
    found = kfold(exact_fit(model), (x, y), k=6, seed=3)
    whole = exact_posterior(model, x, y)
    for row in range(6):
        rest = [n for n in range(6) if n != row]
        left_out = exact_posterior(model, x[rest], y[rest])
        gap = whole.log_evidence - left_out.log_evidence
        assert found.elpd_per_row[row] == pytest.approx(gap, abs=1e-10)
        alone = exact_posterior(model, x[row : row + 1], y[row : row + 1])
        harmonic = -math.log((whole.probs * np.exp(-alone.log_likelihood)).sum())
        assert found.elpd_per_row[row] == pytest.approx(harmonic, abs=1e-10)
    assert sorted(found.folds) == list(range(6))


def test_two_folds_of_one_weight_by_hand():
    """y ~ Normal(w s x + b, sigma^2), w = ±1: two numbers to weigh."""
    model, x, y = regressor(1, (), rows=5)
    found = kfold(exact_fit(model), (x, y), k=2)
    s, b = model.output.scale.item(), model.output.bias.item()
    prior = 1 / (1 + math.exp(-model.output.prior_logit.item()))

    def density(w, n):
        gap = (y[n].item() - w * s * x[n, 0].item() - b) / 0.6
        return math.exp(-0.5 * gap**2) / (0.6 * math.sqrt(2 * math.pi))

    for n in range(5):
        seen = [m for m in range(5) if found.folds[m] != found.folds[n]]
        weights = {
            w: p * math.prod(density(w, m) for m in seen) for w, p in ((1, prior), (-1, 1 - prior))
        }
        total = sum(weights.values())
        law = sum(weights[w] * density(w, n) for w in weights) / total
        mean = sum(weights[w] * (w * s * x[n, 0].item() + b) for w in weights) / total
        assert found.elpd_per_row[n] == pytest.approx(math.log(law), abs=1e-10)
        assert found.mean[n] == pytest.approx(mean, abs=1e-10)
    assert found.rmse == pytest.approx(math.sqrt(((found.mean - y.numpy()) ** 2).mean()), abs=1e-12)


def test_scores_and_their_errors_are_those_of_their_definitions():
    model, x, y = classifier(rows=9, classes=3)
    found = kfold(exact_fit(model), (x, y), k=4)
    e = found.elpd_per_row
    assert found.elpd == pytest.approx(e.sum(), abs=1e-12)
    assert found.elpd_se == pytest.approx(math.sqrt(9 * e.var(ddof=1)), abs=1e-12)
    assert found.nll == pytest.approx(sbn.metrics.nll(found.mean, y), abs=1e-10)
    assert found.nll_se == pytest.approx(e.std(ddof=1) / 3, abs=1e-12)
    assert found.accuracy == sbn.metrics.accuracy(found.mean, y)
    assert (found.elpd_per_fold * np.bincount(found.folds)).sum() == pytest.approx(found.elpd)
    assert repr(found).startswith("KFold(9 rows in 4 folds, elpd -")
    assert f"accuracy {found.accuracy:.4f}" in repr(found)
    with pytest.raises(AttributeError, match="accuracy"):
        _ = found.rmse
    with pytest.raises(AttributeError, match="rmse"):
        _ = kfold(exact_fit(regressor()[0]), regressor()[1:]).accuracy


def test_two_models_differ_row_by_row():
    model, x, y = classifier(rows=8)
    other = classifier(rows=8, seed=5)[0]
    a, b = (kfold(exact_fit(m), (x, y), k=4) for m in (model, other))
    found = a.compare(b)
    each = a.elpd_per_row - b.elpd_per_row
    np.testing.assert_array_equal(found.per_row, each)
    assert found.elpd == pytest.approx(a.elpd - b.elpd, abs=1e-12)
    assert found.standard_error == pytest.approx(math.sqrt(8 * each.var(ddof=1)), abs=1e-12)
    assert found.standard_error < a.elpd_se + b.elpd_se
    assert b.compare(a).elpd == -found.elpd
    assert str(found) == f"elpd difference {found.elpd:.2f} ± {found.standard_error:.2f}"
    assert a.compare(a).standard_error == 0
    with pytest.raises(ValueError, match="different folds"):
        a.compare(kfold(exact_fit(model), (x, y), k=4, seed=1))
    with pytest.raises(ValueError, match="different y"):
        a.compare(kfold(exact_fit(model), (x, 1 - y), k=4))
    with pytest.raises(TypeError, match="another cross-validation"):
        a.compare(3)


@pytest.mark.parametrize(("rows", "k"), [(10, 2), (11, 3), (17, 5), (9, 9)])
def test_folds_are_of_like_size_and_have_their_share_of_each_class(rows, k):
    y = np.arange(rows) % 3 * (np.arange(rows) % 2)
    folds = assign_folds("f()", y, k, 0, None)
    counts = np.array([[np.sum((folds == f) & (y == c)) for c in range(3)] for f in range(k)])
    assert np.ptp(counts.sum(1)) <= 1
    assert (np.ptp(counts, axis=0) <= 1).all()
    np.testing.assert_array_equal(folds, assign_folds("f()", y, k, 0, True))
    np.testing.assert_array_equal(folds, assign_folds("f()", y.astype(float), k, 0, y))
    plain = assign_folds("f()", y, k, 0, False)
    assert np.ptp(np.bincount(plain)) <= 1
    others = [assign_folds("f()", y, k, seed, None) for seed in range(1, 4)]
    assert any(not np.array_equal(folds, other) for other in others)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn, of classes with fewer rows than folds
        split = StratifiedKFold(k).split(y, y) if np.bincount(y).max() >= k else ()
        theirs = [np.bincount(y[test], minlength=3) for _, test in split]
    if len(theirs):
        np.testing.assert_array_equal(np.sort(counts, 0), np.sort(theirs, 0))


def test_a_row_is_in_every_fold_equally_often():
    """All seeds together: no row and no class prefers a fold."""
    y = np.array([0, 0, 1, 1])
    folds = np.array([assign_folds("f()", y, 2, seed, None) for seed in range(400)])
    together = {tuple(pair) for pair in folds[:, :2]}
    assert together == {(0, 1), (1, 0)}
    pairs = {tuple(row) for row in folds}
    assert pairs == {(*a, *b) for a, b in itertools.product([(0, 1), (1, 0)], repeat=2)}


def test_any_predictor_can_be_returned():
    """Another package's classifier: its out-of-fold probabilities are those of the package."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(40, 3))
    y = (x[:, 0] + generator.normal(size=40) > 0).astype(int)
    found = kfold(lambda a, b: LogisticRegression().fit(a, b).predict_proba, (x, y), k=4)
    folds = [(np.flatnonzero(found.folds != f), np.flatnonzero(found.folds == f)) for f in range(4)]
    wanted = cross_val_predict(LogisticRegression(), x, y, cv=folds, method="predict_proba")
    np.testing.assert_allclose(found.mean, wanted, atol=1e-12)
    np.testing.assert_allclose(found.elpd_per_row, np.log(wanted[np.arange(40), y]), atol=1e-12)


def posterior_of(model):
    return sbn.Posterior.from_guide(model, guide_of(model), input_range=8.0)


def test_posteriors_ensembles_and_functions_predict_the_same():
    model, x, y = classifier(rows=6)
    posterior = posterior_of(model)
    returned = [
        posterior,
        posterior.draw(30, seed=2),
        posterior.draw(30, seed=2).predict,
        lambda new: posterior.draw(30, seed=2).predict(new).mean,
        lambda new: torch.tensor(posterior.draw(30, seed=2).predict(new).mean),
        posterior.draw(30, seed=2).predict_moments,
    ]
    results = [kfold(lambda *_, r=r: r, (x, y), 3, num_draws=30, seed=2) for r in returned]
    for found in results:
        np.testing.assert_allclose(found.mean, results[0].mean, atol=1e-12)
        np.testing.assert_allclose(found.elpd_per_row, results[0].elpd_per_row, atol=1e-12)
    real, x, y = regressor(rows=6)
    posterior = posterior_of(real)
    results = [
        kfold(lambda *_, r=r: r, (x, y), 3, num_draws=30, seed=2)
        for r in (posterior, posterior.draw(30, seed=2), posterior.draw(30, seed=2).predict)
    ]
    wanted = posterior.draw(30, seed=2).predict(x)
    for found in results:
        np.testing.assert_allclose(found.elpd_per_row, wanted.log_prob(y), atol=1e-12)
        np.testing.assert_allclose(found.mean, wanted.mean, atol=1e-12)


def test_recalibrated_layers_measure_their_statistics_on_the_rows_of_the_fit():
    torch.manual_seed(0)
    x, y = torch.randn(12, 3), torch.tensor([0, 1] * 6)
    model = sbn.models.BinaryMLP(3, [4], 2, num_data=12, normalisation="recalibrated")
    posterior = sbn.Posterior.from_guide(model, guide_of(model), input_range=8.0)
    found = kfold(lambda *_: posterior, (x, y), 3, num_draws=20)
    inside = found.folds == 1
    wanted = posterior.draw(20, calibrate=x[~inside]).predict(x[inside])
    np.testing.assert_array_equal(found.mean[inside], wanted.mean)


def chance(x, y):
    """A fit whose prediction is chance of torch's own generator."""
    p = torch.rand(())
    return lambda new: torch.stack([p, 1 - p]).expand(len(new), 2)


def test_fits_have_generators_of_their_own_and_leave_those_of_the_process():
    _, x, y = classifier(rows=8)
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first = kfold(chance, (x, y), 4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(12)
    np.testing.assert_array_equal(kfold(chance, (x, y), 4).mean, first.mean)
    assert len({tuple(row) for row in first.mean}) == 4
    assert not np.array_equal(kfold(chance, (x, y), 4, seed=1).mean, first.mean)


def test_a_target_of_probability_0_has_no_standard_error():
    x, y = np.zeros((6, 1)), np.array([0, 1, 0, 1, 0, 1])
    found = kfold(lambda *_: lambda new: np.tile([1.0, 0.0], (len(new), 1)), (x, y), 3)
    assert found.elpd == -math.inf
    assert found.nll == math.inf
    with pytest.warns(sbn.metrics.UndefinedMetricWarning, match="3 rows is not finite"):
        assert math.isnan(found.elpd_se)
    assert "elpd -inf, nll inf, accuracy 0.5000" in repr(found)


WRONG = {
    "one_fold": (dict(k=1), ValueError, "k=1 folds of 5 rows"),
    "too_many": (dict(k=6), ValueError, "k=6 folds of 5 rows"),
    "half": (dict(k=2.5), ValueError, "k=2.5"),
    "yes": (dict(k=True), ValueError, "k=True"),
    "labels": (dict(k=2, stratify=[0, 1]), ValueError, r"shape \(2,\)"),
    "nothing": (dict(k=2, fit_fn=lambda *_: None), TypeError, "fit_fn returned None"),
    "guide": (
        dict(k=2, fit_fn=lambda *_: guide_of(classifier()[0])),
        TypeError,
        "returned AutoSignBernoulli; .*Posterior.from_guide",
    ),
    "model": (dict(k=2, fit_fn=lambda *_: classifier()[0]), TypeError, "returned BinaryMLP"),
    "means": (dict(k=2, fit_fn=lambda *_: lambda x: x[:, 0]), TypeError, "RegressionPredictions"),
    "rows": (
        dict(k=2, fit_fn=lambda *_: lambda x: np.full((7, 2), 0.5)),
        ValueError,
        "predicts 7 rows for",
    ),
    "logits": (
        dict(k=2, fit_fn=lambda *_: lambda x: np.full((len(x), 2), 0.6)),
        ValueError,
        "sum to 1",
    ),
    "data": (dict(k=2, data=np.zeros(3)), TypeError, r"a pair \(x, y\)"),
    "columns": (dict(k=2, data=(np.zeros((3, 1)), np.zeros((3, 1)))), ValueError, "y.reshape"),
    "lengths": (dict(k=2, data=(np.zeros((3, 1)), np.zeros(4))), ValueError, "one target a row"),
    "real_strata": (
        dict(k=2, stratify=True, data=(np.zeros((3, 1)), np.array([0.5, 1, 2]))),
        ValueError,
        "real targets",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused(name):
    options, error, words = WRONG[name]
    model, x, y = classifier()
    call = {"fit_fn": exact_fit(model), "data": (x, y), **options}
    with pytest.raises(error, match=words):
        kfold(**call)


def test_fits_of_other_classes_are_refused():
    x, y = np.zeros((4, 1)), np.array([0, 1, 2, 1])

    def fit(_, seen):
        classes = len(np.unique(seen))
        return lambda new: np.full((len(new), classes), 1 / classes)

    with pytest.raises(ValueError, match=r"labels in 0 ... 1|2 classes and 3 classes"):
        kfold(fit, (x, y), 4)


def test_networks_are_refitted():
    """The whole way: a fresh model and guide for each fold, fitted and drawn from."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32)
    x = torch.randn(60, 2)
    y = (x[:, 0] > 0).long()

    def fit(x, y):
        model = sbn.models.BinaryMLP(2, [8], 2, num_data=len(x))
        guide = sbn.guides.AutoSignBernoulli(model)
        sbn.fit(model, guide, (x, y), epochs=40, batch_size=len(x), progress=False)
        return sbn.Posterior.from_guide(model, guide)

    found = kfold(fit, (x, y), 3, num_draws=50)
    assert found.accuracy > 0.8
    assert found.nll < math.log(2)
    again = kfold(fit, (x, y), 3, num_draws=50)
    np.testing.assert_array_equal(again.mean, found.mean)
