"""The components of draws: golden rows, exact balance of equal weights, and their probabilities."""

from pathlib import Path

import numpy as np
import pytest

from bayes_sbn.kernels.reference.components import component_bounds, draw_components
from bayes_sbn.kernels.reference.low_rank import draw_factors
from bayes_sbn.philox import fold_stream
from tests.chance import assert_count, seed
from tests.kernels.reference import mixture_oracle as oracle

VECTORS = Path(__file__).parents[2] / "vectors" / "mixture_draws.txt"


def rows(kind: str) -> list[list[str]]:
    """The fields of the golden rows of one kind."""
    lines = VECTORS.read_text().splitlines()
    return [line.split()[1:] for line in lines if line.split()[0] == kind]


def test_golden_file_is_what_the_definition_says():
    lines = [row for row in VECTORS.read_text().splitlines() if not row.startswith("#")]
    assert lines == list(oracle.golden_rows())


@pytest.mark.parametrize("fields", rows("components"))
def test_components_are_the_golden_ones(fields):
    key = fold_stream(int(fields[0]), int(fields[1]))
    weights = np.array([float(weight) for weight in fields[2].split(",")])
    found = draw_components(key, np.arange(24), weights)
    assert "".join(map(str, found)) == fields[3]
    assert draw_components(key, np.array([23, 5]), weights).tolist() == found[[23, 5]].tolist()


@pytest.mark.parametrize("fields", rows("factors"))
def test_factors_are_the_golden_ones(fields):
    key = fold_stream(int(fields[0]), int(fields[1]))
    draws = np.array([7, int(fields[2])])
    assert [z.hex() for z in draw_factors(key, draws, 6)[1].tolist()] == fields[3:]
    assert [z.hex() for z in draw_factors(key, draws, 3)[1].tolist()] == fields[3:6]


@pytest.mark.parametrize("number", [1, 2, 3, 7, 10, 49, 1000])
def test_of_equal_weights_any_run_of_draws_has_each_component_once(number):
    weights = np.full(number, 1 / number)
    assert component_bounds(weights).tolist() == [(c + 1) << 32 for c in range(number)]
    found = draw_components(fold_stream(3, number), np.arange(3 * number), weights)
    for start in (0, 1, number, 2 * number):
        assert sorted(found[start : start + number]) == list(range(number))


def test_a_component_without_weight_is_never_drawn():
    weights = np.array([0.0, 0.3, 0.0, 0.7, 0.0])
    found = draw_components(fold_stream(1, 0), np.arange(5000), weights)
    assert set(found.tolist()) == {1, 3}


WEIGHTS = np.array([0.55, 0.15, 0.3])


@pytest.mark.parametrize("is_broken", [False, True])
def test_a_draw_alone_has_each_component_with_its_weight(is_broken):
    """Over seeds; the control leaves out the rotation, so that draw 1 is in the second stratum."""
    base, number = seed("components"), 4000
    found = np.array(
        [
            draw_components(fold_stream(base + s, 0), np.array([1]), WEIGHTS)[0]
            for s in range(number)
        ]
    )
    if is_broken:
        places = (1 + np.random.default_rng(base).random(number)) / 3
        found = np.searchsorted(np.cumsum(WEIGHTS), places, side="right")
    counts = np.bincount(found, minlength=3)
    if is_broken:
        with pytest.raises(AssertionError, match="p-value"):
            assert_count(counts, number, WEIGHTS, detects=0.08)
    else:
        assert_count(counts, number, WEIGHTS, detects=0.08)


def test_each_run_of_draws_has_one_place_in_each_stratum():
    """Of thirds, component 0 owns the first and some of the second, 2 nearly all of the third."""
    found = draw_components(fold_stream(seed("strata"), 0), np.arange(3000), WEIGHTS)
    counts = np.stack([np.bincount(run, minlength=3) for run in found.reshape(-1, 3)])
    assert set(counts[:, 0].tolist()) == {1, 2}
    assert set(counts[:, 1].tolist()) == {0, 1, 2}
    assert set(counts[:, 2].tolist()) == {0, 1}
    independent = np.random.default_rng(0).choice(3, p=WEIGHTS, size=(1000, 3))
    assert {0, 3} <= {int((run == 0).sum()) for run in independent}  # the control has others
