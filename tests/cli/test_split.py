"""Rows in parts: sizes, shares of the classes, seeds."""

import numpy as np
import pytest

from bayes_sbn.cli_split import split


def seeded(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 101])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 0.99])
@pytest.mark.parametrize("classes", [None, 2, 5])
def test_every_row_is_in_one_part_and_parts_have_their_size(count, share, classes):
    labels = None if classes is None else seeded(1).integers(classes, size=count)
    kept, held_out = split(count, share, seeded(), labels)
    assert sorted([*kept, *held_out]) == list(range(count))
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held_out) > 0).all()
    assert len(kept) >= 1
    wanted = min(count - 1, max(1, round(share * count))) if share else 0
    if classes is None:
        assert len(held_out) == wanted
    else:  # unless the last row of some class would have been taken
        assert len(held_out) == min(wanted, count - len(set(labels)))
        assert set(labels[kept]) == set(labels)


def test_each_class_has_its_share_as_nearly_as_whole_rows_allow():
    labels = np.repeat([0, 1, 2], [100, 37, 13])
    _, held_out = split(150, 0.2, seeded(), labels)
    assert np.bincount(labels[held_out]).tolist() == [20, 7, 3]  # 20, 7.4, 2.6
    _, held_out = split(150, 0.1, seeded(), labels)
    assert np.bincount(labels[held_out]).tolist() == [10, 4, 1]  # 10, 3.7, 1.3


def test_large_classes_stand_in_for_those_without_a_row_to_spare():
    labels = np.array([0, 1, 2, 3] + [4] * 20)
    _, held_out = split(24, 0.75, seeded(), labels)
    assert np.bincount(labels[held_out]).tolist() == [0, 0, 0, 0, 18]


def test_the_only_row_of_a_class_is_for_training():
    labels = np.array([0] * 20 + [1])
    for seed in range(20):
        kept, held_out = split(21, 0.5, seeded(seed), labels)
        assert 20 in kept
        assert len(held_out) == 10


def test_a_seed_gives_the_same_parts_and_another_one_others():
    labels = np.arange(60) % 3
    for each in (None, labels):
        first = split(60, 0.3, seeded(5), each)[1]
        assert np.array_equal(first, split(60, 0.3, seeded(5), each)[1])
        assert not np.array_equal(first, split(60, 0.3, seeded(6), each)[1])


@pytest.mark.parametrize("labels", [None, np.repeat([0, 1], 20)])
def test_every_row_is_held_out_by_some_seed(labels):
    """A share of 1/2 misses a given row 40 times in a row with probability 2^-40."""
    held_out = set()
    for seed in range(40):
        held_out |= set(split(40, 0.5, seeded(seed), labels)[1].tolist())
    assert held_out == set(range(40))
