"""Events of class probabilities: which there are, in what order, and their names."""

import numpy as np
import pytest

from bayes_sbn.metrics.events import check_kind, events

PROBS = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
LABELS = np.array([1, 2])


def test_events_of_the_top_label():
    probability, outcome = events(PROBS, LABELS, "top")
    np.testing.assert_array_equal(probability, [[0.5, 0.8]])
    np.testing.assert_array_equal(outcome, [[False, True]])


def test_events_of_each_class():
    probability, outcome = events(PROBS, LABELS, "classwise")
    np.testing.assert_array_equal(probability, [[0.5, 0.1], [0.3, 0.1], [0.2, 0.8]])
    np.testing.assert_array_equal(outcome, [[False, False], [True, False], [False, True]])


def test_marginal_events_are_those_of_all_classes_in_one_set():
    for part, whole in zip(
        events(PROBS, LABELS, "classwise"), events(PROBS, LABELS, "marginal"), strict=True
    ):
        assert whole.shape == (1, 6)
        np.testing.assert_array_equal(whole[0], part.ravel())


def test_kind_is_one_of_those_allowed():
    assert check_kind("f()", "top", ("classwise", "top")) == "top"
    with pytest.raises(
        ValueError,
        match=r"f\(\) needs kind='top' or kind='marginal': received 'all'. Write kind='top'",
    ):
        check_kind("f()", "all", ("top", "marginal"))
