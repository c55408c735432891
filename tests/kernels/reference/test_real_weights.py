"""Real weights: the quantile to 1e-15, golden draws, and a grid that holds every draw."""

import statistics
from pathlib import Path

import mpmath
import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtri

from bayes_sbn.kernels.reference.quantile64 import LARGEST_NORMAL, log64, normal_quantile64
from bayes_sbn.kernels.reference.real_weights import (
    LARGEST_STEP_COUNT,
    draw_real_weights,
    real_weight_words,
    weight_step,
)
from bayes_sbn.philox import fold_stream
from tests.chance import BUDGET, FALSE_ALARM, numpy_generator
from tests.kernels.reference import real_draw_oracle as oracle

VECTORS = Path(__file__).parents[2] / "vectors" / "real_draws.txt"
ENDS = np.concatenate([np.arange(3000), 2**32 - 1 - np.arange(3000)])


def uniforms(label: str, count: int = 20_000) -> np.ndarray:
    """Uniforms as they are used: the ends, the seams of the branches, and many others."""
    g = numpy_generator(label)
    seams = np.rint(np.array([0.075, 0.925, np.exp(-25.0), 0.5]) * 2**32).astype(np.int64)
    around = (seams[:, None] + np.arange(-20, 21)).ravel()
    u = np.concatenate([ENDS, around, g.integers(0, 2**32, count)]).clip(0, 2**32 - 1)
    return (u + 0.5) / 2**32


def rows(kind: str) -> list[list[str]]:
    """The fields of the golden rows of one kind."""
    lines = VECTORS.read_text().splitlines()
    return [line.split()[1:] for line in lines if line.split()[0] == kind]


def test_quantile_has_the_bits_of_the_scalar_transcription():
    p = uniforms("bits")
    expected = np.array([oracle.quantile(float(v)) for v in p])
    assert normal_quantile64(p).tobytes() == expected.tobytes()
    expected = np.array([oracle.log64(float(v)) for v in p])
    assert log64(p).tobytes() == expected.tobytes()


def test_quantile_is_that_of_scipy_and_of_the_standard_library():
    p = uniforms("scipy")
    z = normal_quantile64(p)
    # from the nearer end: 1 - p is exact
    wanted = np.where(p < 0.5, ndtri(p), -ndtri(1 - p))
    np.testing.assert_allclose(z, wanted, rtol=3e-15)
    law = statistics.NormalDist()
    np.testing.assert_allclose(z[::17], [law.inv_cdf(v) for v in p[::17]], rtol=2e-15)


def test_quantile_is_accurate_to_2e_15_against_40_digits():
    p = uniforms("digits", 50)[::61]
    with mpmath.workdps(40):
        for value, z in zip(p, normal_quantile64(p), strict=True):
            exact = -mpmath.sqrt(2) * mpmath.erfinv(1 - 2 * mpmath.mpf(float(value)))
            assert abs(mpmath.mpf(float(z)) / exact - 1) < 2e-15


def test_quantile_is_odd_never_falls_and_is_bounded():
    p = np.sort(uniforms("odd"))
    z = normal_quantile64(p)
    assert (np.diff(z) >= 0).all()
    assert (normal_quantile64(1 - p) == -z).all()
    assert 6.33 < np.abs(z).max() < LARGEST_NORMAL
    assert normal_quantile64(np.array([0.5]))[0] == 0


def test_golden_file_is_what_the_definition_says():
    lines = [row for row in VECTORS.read_text().splitlines() if not row.startswith("#")]
    assert lines == list(oracle.golden_rows())


def test_golden_words_quantiles_and_steps():
    for seed, stream, draw, site, unit, k, u32, z, steps in rows("real"):
        key, draws = fold_stream(int(seed), int(stream)), np.array([int(draw)])
        unit, k = int(unit), int(k)
        words = real_weight_words(key, int(site), draws, unit + 1, k + 1)
        assert words[0, unit, k] == int(u32, 16)
        value = normal_quantile64(np.array([(int(u32, 16) + 0.5) * 2.0**-32]))
        assert float(value[0]).hex() == z
        loc, spread = (np.full((unit + 1, k + 1), v) for v in (oracle.LOC, oracle.SPREAD))
        drawn = draw_real_weights(key, int(site), draws, loc, spread, oracle.STEP)
        assert drawn[0, unit, k] == int(steps)
    for u32, log, z in rows("quantile"):
        p = (int(u32, 16) + 0.5) * 2.0**-32
        assert float(log64(np.array([min(p, 1 - p)]))[0]).hex() == log
        assert float(normal_quantile64(np.array([p]))[0]).hex() == z


def test_draws_do_not_depend_on_the_blocks_or_on_other_draws(monkeypatch):
    g = numpy_generator("blocks")
    loc, spread = g.normal(size=(5, 7)), g.uniform(0, 1, (5, 7))
    step = weight_step(loc, spread)
    key = fold_stream(3, 4)
    whole = draw_real_weights(key, 2, np.arange(40), loc, spread, step)
    assert (
        draw_real_weights(key, 2, np.arange(9, 21, 3), loc, spread, step) == whole[9:21:3]
    ).all()
    monkeypatch.setattr("bayes_sbn.kernels.reference.real_weights._WEIGHTS_AT_A_TIME", 1)
    assert (draw_real_weights(key, 2, np.arange(40), loc, spread, step) == whole).all()
    narrow = draw_real_weights(key, 2, np.arange(40), loc[:, :6], spread[:, :6], step)
    assert (narrow == whole[..., :6]).all()  # keyed by unit and index, not by the shape
    assert not (draw_real_weights(key, 1, np.arange(40), loc, spread, step) == whole).all()


def test_points_are_one_copy_rounded_to_the_grid():
    loc = np.array([[0.1, -0.26, 1.0]])
    drawn = draw_real_weights((0, 0), 0, np.arange(1000), loc, np.zeros((1, 3)), 2.0**-10)
    assert drawn.shape == (1000, 1, 3)
    assert drawn.strides[0] == 0
    assert (drawn == [[102, -266, 1024]]).all()
    mixed = draw_real_weights((0, 0), 0, np.arange(50), loc, np.array([[0, 1.0, 0]]), 2.0**-10)
    assert (mixed[:, 0, [0, 2]] == [102, 1024]).all()
    assert len(np.unique(mixed[:, 0, 1])) > 40


@pytest.mark.parametrize("size", [1e-30, 0.01, 1.0, 32767.0, 1e20])
def test_the_grid_is_the_finest_that_holds_every_draw(size):
    loc = np.array([[size, -size / 3]])
    for spread in (0.0, 1e-9 * size, size):
        spreads = np.full((1, 2), spread)
        step = weight_step(loc, spreads)
        assert np.log2(step) == np.round(np.log2(step))
        reach = size + LARGEST_NORMAL * spread
        assert LARGEST_STEP_COUNT * step / 2 < reach <= LARGEST_STEP_COUNT * step
        for u in (0, 2**32 - 1):
            assert abs(oracle.steps(u, size, spread, step)) <= LARGEST_STEP_COUNT
    assert weight_step(np.zeros((1, 1)), np.zeros((1, 1))) == 1.0


@pytest.mark.parametrize("is_broken", [False, True])
def test_weights_are_normal(is_broken):
    loc, spread = np.array([[0.4, -1.0]]), np.array([[0.3, 0.05]])
    step = weight_step(loc, spread)
    drawn = draw_real_weights(fold_stream(11), 0, np.arange(50_000), loc, spread, step)[:, 0] * step
    z = (drawn - loc) / (1.1 * spread if is_broken else spread)
    BUDGET.spend()
    worst = min(stats.kstest(column, "norm").pvalue for column in z.T)
    assert (worst < FALSE_ALARM) == is_broken
    BUDGET.spend()
    correlation = np.corrcoef(z.T)[0, 1]
    assert abs(correlation) < 6 / 50_000**0.5
