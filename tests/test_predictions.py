"""Predictions against hand-computed cases, definition-level loops and closed forms."""

import copy
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from bayes_sbn.predictions import Predictions
from bayes_sbn.uncertainty import Decomposition

NAN = float("nan")


def dirichlet(draws: int, rows: int, classes: int, concentration: float = 0.7) -> np.ndarray:
    generator = np.random.default_rng(draws * 10_000 + rows * 100 + classes)
    return generator.dirichlet(np.full(classes, concentration), (draws, rows))


@pytest.fixture
def pred() -> Predictions:
    """Two draws of two rows of three classes."""
    return Predictions(
        [
            [[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]],
            [[0.0, 0.75, 0.25], [0.0, 1.0, 0.0]],
        ]
    )


# What it holds.


def test_predictions_mean_and_mode_hand_computed(pred):
    np.testing.assert_array_equal(pred.mean, [[0.25, 0.5, 0.25], [0.5, 0.5, 0.0]])
    np.testing.assert_array_equal(pred.mode, [1, 0])  # the lowest class wins the tie of row 1
    assert pred.mode.dtype == np.int64


def test_predictions_names_its_dims_and_sizes(pred):
    assert pred.dims == ("draw", "row", "class")
    assert pred.shape == (2, 2, 3)
    assert len(pred) == 2
    assert repr(pred) == "Predictions(draw=2, row=2, class=3)"
    named = Predictions(pred.probs_per_draw, attrs={"seed": 7, "posterior": "0123456789ab" * 5})
    attrs = "{'seed': 7, 'posterior': '0123456789ab…'}"  # digests by their beginning
    assert repr(named) == f"Predictions(draw=2, row=2, class=3, attrs={attrs})"


def test_predictions_holds_float64_without_a_copy():
    probs = dirichlet(3, 4, 5)
    assert np.shares_memory(Predictions(probs).probs_per_draw, probs)
    assert probs.flags.writeable  # the caller's own array stays as it was


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_predictions_takes_tensors_of_every_float_type(dtype):
    # Quarters are exact in all four types.
    probs = torch.tensor([[[0.25, 0.75]]], dtype=dtype, requires_grad=True)
    pred = Predictions(probs)
    assert pred.probs_per_draw.dtype == np.float64
    np.testing.assert_array_equal(pred.probs_per_draw, [[[0.25, 0.75]]])


def test_predictions_takes_a_float32_softmax_of_many_classes():
    logits = 10 * np.random.default_rng(0).standard_normal((2, 50, 1000))
    Predictions(torch.tensor(logits, dtype=torch.float32).softmax(-1))


def test_predictions_are_immutable(pred):
    with pytest.raises(AttributeError, match=r"Predictions.mean cannot be set: predictions are"):
        pred.mean = 1
    with pytest.raises(AttributeError, match="cannot be set"):
        pred.attrs = {}
    with pytest.raises(TypeError, match="does not support item assignment"):
        pred.attrs["seed"] = 1
    for name in ("probs_per_draw", "mean", "mode", "std", "entropy", "aleatoric", "epistemic"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(pred, name)[0] = 0


def test_predictions_results_are_computed_once(pred):
    for name in ("mean", "mode", "std", "entropy", "aleatoric", "epistemic"):
        assert getattr(pred, name) is getattr(pred, name)


def test_predictions_equality_is_of_values_and_attrs(pred):
    probs = pred.probs_per_draw
    assert pred == Predictions(probs.copy())
    assert pred != Predictions(probs, attrs={"seed": 0})
    assert pred != Predictions(probs[:, :1])
    assert pred != Predictions(probs[::-1])
    assert pred != "pred"
    with pytest.raises(TypeError, match="unhashable"):
        hash(pred)


def test_predictions_survive_pickle_and_deepcopy(pred):
    named = Predictions(pred.probs_per_draw, attrs={"seed": 7})
    assert pickle.loads(pickle.dumps(named)) == named
    assert copy.deepcopy(named) == named


def test_predictions_attrs_are_kept_as_json_gives_them_back():
    assert Predictions([[[1, 0]]], attrs={"shape": (1, 2)}).attrs == {"shape": [1, 2]}


@pytest.mark.parametrize("value", [np.int64(3), NAN, object(), {1, 2}])
def test_predictions_attrs_that_json_lacks_are_refused(value):
    with pytest.raises(TypeError, match=r"Predictions\(\) needs attrs that JSON can hold"):
        Predictions([[[1, 0]]], attrs={"value": value})


@pytest.mark.parametrize(
    ("probs", "words"),
    [
        ([[0.5, 0.5]], r"shape \(draw, row, class\): received shape \(1, 2\).*write probs\[None\]"),
        (np.full((1, 1, 1, 2), 0.5), r"received shape \(1, 1, 1, 2\).*Give it 3 axes"),
        (np.empty((0, 3, 2)), r"at least one entry along every axis.*\(0, 3, 2\)"),
        (np.empty((2, 3, 0)), "at least one entry along every axis"),
        (np.full((2, 3, 1), 1.0), r"at least two classes.*concatenate\(\[1 - p, p\]"),
        ([[[0.5, 0.5], [NAN, 1.0]]], "finite probabilities: nan at draw 0, row 1, class 0"),
        ([[[0.5, 0.5]], [[np.inf, 0.0]]], "finite probabilities: inf at draw 1, row 0, class 0"),
        ([[[-0.5, 1.5]]], r"in \[0, 1\]: .*-0.5.* at draw 0, row 0, class 0.*softmax"),
        ([[[0.0, 1.5]]], r"in \[0, 1\]: .*1.5.* at draw 0, row 0, class 1.*p.clip\(0, 1\)"),
        ([[[0.5, 0.5]], [[0.5, 0.4]]], "at draw 1, row 0 they sum to 0.9"),
        ([[[0.5, 0.500002]]], "sum to 1 over the classes .within 1e-06.*sum to 1.000002"),
    ],
)
def test_predictions_refuse_what_is_no_probability(probs, words):
    with pytest.raises(ValueError, match=words) as error:
        Predictions(probs)
    assert str(error.value).startswith("Predictions() needs ")


@pytest.mark.parametrize("probs", [[[["a", "b"]]], [[[1j, 1 - 1j]]], [[[None, None]]]])
def test_predictions_refuse_what_is_no_number(probs):
    with pytest.raises(TypeError, match=r"Predictions\(\) needs real numbers: received values of"):
        Predictions(probs)


def test_predictions_accept_rounding_of_row_sums():
    assert Predictions([[[0.5, 0.5000009]]]).shape == (1, 1, 2)


# The predictive distribution.


def test_log_prob_is_log_of_mean_probability(pred):
    np.testing.assert_array_equal(pred.log_prob([1, 2]), [np.log(0.5), -np.inf])
    np.testing.assert_array_equal(pred.log_prob(torch.tensor([1, 2])), [np.log(0.5), -np.inf])


def test_log_prob_names_itself_in_errors(pred):
    with pytest.raises(ValueError, match=r"Predictions.log_prob\(\) needs labels in 0 ... 2"):
        pred.log_prob([0, 3])


@pytest.mark.parametrize(
    ("mean", "level", "members"),
    [
        ([0.6, 0.3, 0.1], 0.5, [1, 0, 0]),
        ([0.6, 0.3, 0.1], 0.6, [1, 0, 0]),
        ([0.6, 0.3, 0.1], 0.61, [1, 1, 0]),
        ([0.6, 0.3, 0.1], 0.9, [1, 1, 0]),
        ([0.87, 0.06, 0.06, 0.01], 0.93, [1, 1, 0, 0]),  # though 0.87 + 0.06 < 0.93 in float64
        ([0.1, 0.3, 0.6], 0.9, [0, 1, 1]),
        ([0.25, 0.25, 0.5], 0.7, [1, 0, 1]),  # the lower class of a tie
        ([0.7, 0.3, 0.0], 1.0, [1, 1, 0]),  # a class of probability 0 never enters
        ([0.0, 1.0, 0.0], 0.999, [0, 1, 0]),
        ([1 / 3, 1 / 3, 1 / 3], 1.0, [1, 1, 1]),
    ],
)
def test_credible_set_hand_computed(mean, level, members):
    np.testing.assert_array_equal(Predictions([[mean]]).credible_set(level), [np.bool_(members)])


@pytest.mark.parametrize("level", [0.05, 0.5, 0.9, 0.99])
def test_credible_set_is_smallest_that_reaches_the_level(level):
    pred = Predictions(dirichlet(3, 60, 5))
    subsets = np.array([[mask >> c & 1 for c in range(5)] for mask in range(32)], dtype=bool)
    for probs, members in zip(pred.mean, pred.credible_set(level), strict=True):
        reaching = subsets[subsets @ probs >= level]
        assert members @ probs >= level
        assert members.sum() == reaching.sum(axis=1).min()


@pytest.mark.parametrize("level", [0, -1, 1.1, NAN])
def test_credible_set_refuses_levels_outside(level):
    with pytest.raises(ValueError, match=r"Predictions.credible_set\(\) needs a level"):
        Predictions([[[1, 0]]]).credible_set(level)


# The spread over the draws.


def test_std_divides_by_the_number_of_draws(pred):
    np.testing.assert_array_equal(pred.std, [[0.25, 0.25, 0], [0.5, 0.5, 0]])
    np.testing.assert_array_equal(Predictions([[[0.3, 0.7]]]).std, [[0, 0]])


def test_std_equals_definition():
    pred = Predictions(dirichlet(50, 7, 4))
    np.testing.assert_allclose(pred.std, np.std(pred.probs_per_draw, axis=0), rtol=1e-13)


def test_quantile_interpolates_between_sorted_draws():
    probs = np.array([0.1, 0.5, 0.2, 0.9, 0.4])
    pred = Predictions(np.stack([probs, 1 - probs], -1)[:, None])
    np.testing.assert_allclose(pred.quantile(0.5), [[0.4, 0.6]], rtol=1e-15)
    np.testing.assert_allclose(pred.quantile([0, 0.125, 1])[:, 0, 0], [0.1, 0.15, 0.9], rtol=1e-14)


def test_quantile_over_blocks_of_rows_equals_one_call():
    # 3000 rows of 20 draws of 7 classes are several blocks.
    pred = Predictions(dirichlet(20, 3000, 7))
    before = pred.probs_per_draw.copy()
    levels = [0.05, 0.37, 0.95]
    expected = np.quantile(pred.probs_per_draw, levels, axis=0)
    np.testing.assert_allclose(pred.quantile(levels), expected, rtol=1e-13)
    np.testing.assert_array_equal(pred.probs_per_draw, before)


def test_quantiles_of_a_single_draw_are_its_probabilities():
    pred = Predictions(dirichlet(1, 5, 3))
    np.testing.assert_array_equal(pred.quantile([0.2, 0.9]), np.tile(pred.mean, (2, 1, 1)))
    np.testing.assert_array_equal(pred.interval(0.9), [pred.mean, pred.mean])


def test_quantiles_leave_draws_alone_that_lie_side_by_side_in_memory():
    draws = dirichlet(9, 5, 3)
    side_by_side = np.moveaxis(np.moveaxis(draws, 0, -1).copy(), -1, 0)
    pred = Predictions(side_by_side)
    np.testing.assert_array_equal(pred.quantile(0.3), Predictions(draws).quantile(0.3))
    np.testing.assert_array_equal(pred.probs_per_draw, draws)


def test_interval_is_the_equal_tailed_pair_of_quantiles():
    pred = Predictions(dirichlet(101, 3, 4))
    low, high = pred.interval(0.9)
    expected = np.sort(pred.probs_per_draw, axis=0)[[5, 95]]
    np.testing.assert_allclose([low, high], expected, rtol=1e-12)
    np.testing.assert_array_equal(pred.interval(), [low, high])
    assert np.all(pred.interval(0.5)[0] >= low)


@pytest.mark.parametrize("q", [-0.1, 1.1, NAN, [0.5, 2], [[0.5]]])
def test_quantile_refuses_levels_outside(q):
    with pytest.raises(ValueError, match=r"quantile\(\) needs levels in \[0, 1\].*quantile\(0.5\)"):
        Predictions([[[1, 0]]]).quantile(q)


@pytest.mark.parametrize("level", [0, 1, 1.5, NAN])
def test_interval_refuses_levels_outside(level):
    with pytest.raises(
        ValueError, match=r"Predictions.interval\(\) needs a level strictly between"
    ):
        Predictions([[[1, 0]]]).interval(level)


# Entropies.


def test_entropies_hand_computed(pred):
    log2 = np.log(2)
    of_draws = np.array([1.5 * log2, 2 * log2 - 0.75 * np.log(3)])
    np.testing.assert_allclose(pred.entropy, [1.5 * log2, log2], rtol=1e-15)
    np.testing.assert_allclose(pred.aleatoric, [of_draws.mean(), 0], rtol=1e-15)
    np.testing.assert_allclose(pred.epistemic, [1.5 * log2 - of_draws.mean(), log2], rtol=1e-14)


@pytest.mark.parametrize("concentration", [0.005, 0.1, 1, 100, 1e6])
def test_entropy_parts_sum_exactly_and_are_never_negative(concentration):
    pred = Predictions(dirichlet(5, 4000, 10, concentration))
    np.testing.assert_array_equal(pred.aleatoric + pred.epistemic, pred.entropy)
    np.testing.assert_array_equal(pred.entropy - pred.aleatoric, pred.epistemic)
    assert pred.epistemic.min() >= 0
    assert pred.aleatoric.min() >= 0


def test_epistemic_is_zero_where_draws_agree():
    one = dirichlet(1, 500, 10)
    assert np.all(Predictions(np.repeat(one, 2, axis=0)).epistemic == 0)
    spread = Predictions(np.repeat(one, 7, axis=0)).epistemic  # a mean of 7 rounds
    assert 0 <= spread.min() <= spread.max() < 1e-14


def test_single_draw_has_no_epistemic_part():
    pred = Predictions(dirichlet(1, 20, 4))
    np.testing.assert_array_equal(pred.aleatoric, pred.entropy)
    np.testing.assert_array_equal(pred.epistemic, np.zeros(20))
    parts = pred.decompose()
    np.testing.assert_array_equal(parts.total, pred.entropy)
    np.testing.assert_array_equal(parts.aleatoric, pred.entropy)
    np.testing.assert_array_equal(parts.epistemic, np.zeros(20))
    for error in (parts.total_se, parts.aleatoric_se, parts.epistemic_se):
        assert error.shape == (20,)
        assert np.isnan(error).all()


def test_jackknife_of_single_draw_is_refused():
    with pytest.raises(ValueError, match=r"needs at least 2 draws: received 1.*decompose()"):
        Predictions([[[1, 0]]]).decompose(correction="jackknife")


def test_decompose_refuses_unknown_corrections(pred):
    with pytest.raises(ValueError, match="correction=None or correction='jackknife': received 'bo"):
        pred.decompose(correction="bootstrap")


def test_decompose_plug_in_equals_the_properties():
    pred = Predictions(dirichlet(9, 300, 6))
    parts = pred.decompose()
    assert isinstance(parts, Decomposition)
    assert (parts.correction, parts.num_draws) == (None, 9)
    np.testing.assert_array_equal(parts.total, pred.entropy)
    np.testing.assert_allclose(parts.aleatoric, pred.aleatoric, rtol=1e-13)
    np.testing.assert_allclose(parts.epistemic, pred.epistemic, rtol=1e-11)


# Cost.


def test_predictions_need_no_second_copy_of_the_draws():
    pred = Predictions(dirichlet(200, 2000, 10))
    size = pred.probs_per_draw.nbytes
    tracemalloc.start()
    _ = pred.mean, pred.std, pred.entropy, pred.epistemic, pred.mode, pred.quantile(0.5)
    pred.decompose("jackknife")
    Predictions(pred.probs_per_draw)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.7 * size


def test_predictions_and_metrics_import_neither_torch_nor_pyro():
    script = (
        "import sys, bayes_sbn.predictions, bayes_sbn.metrics, bayes_sbn.plots\n"
        "heavy = {'torch', 'pyro', 'matplotlib', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", script], check=True, cwd=root)


def test_no_rows_give_empty_results():
    pred = Predictions(np.empty((4, 0, 3)))
    assert len(pred) == 0
    assert pred.mean.shape == (0, 3)
    for array in (pred.mode, pred.entropy, pred.aleatoric, pred.epistemic):
        assert array.shape == (0,)
    assert pred.credible_set(0.9).shape == (0, 3)
    low, high = pred.interval(0.9)
    assert low.shape == high.shape == (0, 3)
    assert pred.decompose(correction="jackknife").total.shape == (0,)
    assert repr(pred)
    for shape in ((0, 5, 3), (4, 5, 0)):
        with pytest.raises(ValueError, match="at least one entry"):
            Predictions(np.empty(shape))
