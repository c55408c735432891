r"""Assertions about chance, under one budget of false alarms for the whole suite.

A correct sampler may fail a statistical test and a wrong one may pass it.  Both are bounded here.

*False alarms.*  Every assertion wrongly fails with probability at most :data:`FALSE_ALARM`
= 1e-6, whatever the number of coordinates it looks at (Bonferroni).  At most
:data:`MAX_ASSERTIONS` = 1000 are made, so a run of a correct suite cries wolf with probability
at most 1000 * 1e-6 = 1e-3: less than once in a thousand runs with free seeds.  The assertions are
counted, and the one past the budget is an error.

*False passes.*  Every assertion states what it would notice: ``detects`` is the error of a
probability or a mean that it misses with probability at most :data:`FALSE_PASS` = 1e-3, and it
fails, before looking at the data's verdict, if its own number of samples does not suffice for that.

*The tests.*  Counts: the exact two-sided binomial test.  Means of bounded variables: the empirical
Bernstein inequality of Maurer and Pontil (COLT 2009, theorem 4), which holds at every n.  For K
means of n samples with sample variance V, each sample in an interval of length R,

.. math:: |\bar X - E X| \le \sqrt{2 V \ln(4 K / \alpha) / n} + 7 R \ln(4 K / \alpha) / (3 (n - 1))

for all K at once with probability at least 1 - alpha.  If the mean is wrong by ``detects`` or
more, and ``detects`` is at least twice the radius, the assertion fails with that same probability.

*Seeds* are fixed by default, so that a run can be repeated.  The environment variable
``BAYES_SBN_FREE_SEEDS`` frees them: ``1`` draws a fresh base seed, another positive integer
replays that base.  The base stands in the header of the run and in every failure.
"""

import os
import secrets
import zlib
from functools import cache

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import stats

FALSE_ALARM = 1e-6
"""The probability that one assertion about a correct program fails."""

MAX_ASSERTIONS = 1000
"""How many assertions a run may make: 1000 * 1e-6 = 1e-3 false alarms a run."""

FALSE_PASS = 1e-3
"""The probability that an assertion misses an error of the size it says it detects."""

FREE_SEEDS = "BAYES_SBN_FREE_SEEDS"
"""The environment variable that frees the seeds."""

Array = NDArray[np.float64]


class Budget:
    """Counts the assertions made in this process, and refuses the one too many."""

    def __init__(self, max_assertions: int = MAX_ASSERTIONS) -> None:
        self.max_assertions = max_assertions
        self.num_assertions = 0

    def spend(self) -> None:
        """Pay for one assertion."""
        self.num_assertions += 1
        if self.num_assertions > self.max_assertions:
            raise RuntimeError(
                f"the suite made more than {self.max_assertions} statistical assertions, so that "
                f"false alarms may exceed {self.max_assertions * FALSE_ALARM:g} a run: merge some "
                "into one assertion over an array, or lower FALSE_ALARM and raise MAX_ASSERTIONS."
            )

    def __str__(self) -> str:
        spent = self.num_assertions * FALSE_ALARM
        return f"{self.num_assertions} statistical assertions, false alarms at most {spent:g}"


BUDGET = Budget()
"""The one budget of the suite."""


@cache
def base_seed() -> int:
    """0, or the base chosen through :data:`FREE_SEEDS`."""
    choice = os.environ.get(FREE_SEEDS, "0") or "0"
    if not choice.isdigit():
        raise ValueError(f"{FREE_SEEDS}={choice!r}: write 1 for fresh seeds, or a base to replay")
    # A fresh base is at least 2, so that it can be replayed: 0 and 1 have a meaning of their own.
    return 2 + secrets.randbits(31) if choice == "1" else int(choice)


def seed(label: str) -> int:
    """A 32-bit seed that depends on the base seed and the label alone."""
    return zlib.crc32(f"{base_seed()}/{label}".encode())


def numpy_generator(label: str) -> np.random.Generator:
    """A NumPy generator of its own for every label."""
    return np.random.default_rng(seed(label))


def torch_generator(label: str, device: str = "cpu") -> torch.Generator:
    """A torch generator of its own for every label."""
    return torch.Generator(device).manual_seed(seed(label))


def binomial_p_value(successes: ArrayLike, trials: int, probability: ArrayLike) -> Array:
    """Two-sided, ``min(1, 2 min(P(X <= k), P(X >= k)))``; it is valid for any probability."""
    law = stats.binom(trials, np.asarray(probability, dtype=np.float64))
    k = np.asarray(successes)
    return np.minimum(1.0, 2 * np.minimum(law.cdf(k), law.sf(k - 1)))


def binomial_false_pass(
    trials: int, probability: ArrayLike, detects: float, alpha: float = FALSE_ALARM
) -> Array:
    """P(the test accepts), at worst, when the probability is off by ``detects`` either way.

    A side on which ``probability ± detects`` leaves [0, 1] cannot err by that much and is left out.
    """
    p = np.asarray(probability, dtype=np.float64)
    # The accepted counts: both tails strictly above alpha / 2.  Far from the means only one tail
    # of the wrong law matters, but the whole acceptance region is evaluated.
    law = stats.binom(trials, p)
    lowest = law.ppf(alpha / 2)
    lowest = np.where(law.cdf(lowest) > alpha / 2, lowest, lowest + 1)
    highest = law.isf(alpha / 2)
    highest = np.where(law.sf(highest - 1) > alpha / 2, highest, highest - 1)
    worst = np.zeros(p.shape)
    for wrong in (p - detects, p + detects):
        is_possible = (wrong >= 0) & (wrong <= 1)
        other = stats.binom(trials, np.clip(wrong, 0.0, 1.0))
        accepted = other.cdf(highest) - other.cdf(lowest - 1)
        worst = np.maximum(worst, np.where(is_possible, accepted, 0.0))
    return worst


def assert_count(
    successes: ArrayLike, trials: int, probability: ArrayLike, *, detects: float
) -> None:
    """Each count is Binomial(trials, probability).

    Args:
        successes: one count, or an array of counts of ``trials`` trials each.
        trials: how many independent trials stand behind each count.
        probability: what the successes' probability should be; broadcast.
        detects: an error of the probability that would be noticed, in any coordinate.
    """
    BUDGET.spend()
    k, p = np.broadcast_arrays(_numpy(successes), _numpy(probability))
    if np.any((k < 0) | (k > trials) | (k != np.round(k))):
        raise ValueError(f"assert_count(): counts are whole numbers from 0 to {trials}")
    alpha = FALSE_ALARM / max(k.size, 1)
    if np.all((p - detects < 0) & (p + detects > 1)):
        raise ValueError(f"assert_count(): no probability can be off by detects={detects}")
    missed = binomial_false_pass(trials, p, detects, alpha).max(initial=0.0)
    if missed > FALSE_PASS:
        raise AssertionError(
            f"{trials} trials miss an error of {detects:g} with probability {missed:.2g}, more "
            f"than {FALSE_PASS:g}: use more trials, or state a larger error"
        )
    p_values = binomial_p_value(k, trials, p)
    if np.any(p_values <= alpha):
        worst = np.unravel_index(np.argmin(p_values), k.shape)
        raise AssertionError(
            f"{k[worst]:g} successes in {trials} trials (a rate of {k[worst] / trials:.6g}), "
            f"expected a rate of {p[worst]:.6g}: p-value {p_values[worst]:.2g} at {worst} is not "
            f"above {alpha:.2g} ({FREE_SEEDS} base {base_seed()})"
        )


def bernstein_radius(samples: Array, width: ArrayLike, alpha: float = FALSE_ALARM) -> Array:
    """The radius of the empirical Bernstein interval for each mean over the first dimension."""
    n = len(samples)
    if n < 2:
        raise ValueError("an empirical Bernstein interval needs at least two samples")
    num_means = max(int(np.prod(samples.shape[1:])), 1)
    logarithm = np.log(4 * num_means / alpha)
    variance = samples.var(axis=0, ddof=1)
    slack = 7 * np.asarray(width, dtype=np.float64) * logarithm / (3 * (n - 1))
    return np.sqrt(2 * variance * logarithm / n) + slack


def assert_mean(
    samples: object,
    expected: object,
    *,
    bounds: tuple[ArrayLike, ArrayLike],
    detects: ArrayLike,
) -> None:
    """Independent bounded samples have the expected mean, in every coordinate.

    Args:
        samples: (n, ...), an array or tensor; independent along the first dimension.
        expected: (...), the means; broadcast.
        bounds: the least and the largest value a sample can take, scalars or (...).  They are
            properties of the program under test, not of the samples that came.
        detects: an error of a mean that would be noticed, scalar or (...).
    """
    BUDGET.spend()
    values = _numpy(samples)
    low, high = (_numpy(bound) for bound in bounds)
    if not np.isfinite(values).all():
        raise AssertionError("assert_mean(): a sample is not finite")
    if np.any(values < low) or np.any(values > high):
        raise AssertionError(
            f"assert_mean(): samples reach from {values.min():g} to {values.max():g}, outside "
            "the bounds that were stated"
        )
    radius = bernstein_radius(values, high - low)
    if np.any(2 * radius > _numpy(detects)):
        raise AssertionError(
            f"{len(values)} samples have a radius of {radius.max():.3g}, which notices errors of "
            f"{2 * radius.max():.3g} and not of {np.min(_numpy(detects)):.3g}: use more samples, "
            "or state a larger error"
        )
    error = np.abs(values.mean(axis=0) - _numpy(expected))
    if np.any(error > radius):
        worst = np.unravel_index(np.argmax(error - radius), error.shape)
        raise AssertionError(
            f"a mean of {values.mean(axis=0)[worst]:.6g} at {worst}, expected "
            f"{np.broadcast_to(_numpy(expected), error.shape)[worst]:.6g}: off by "
            f"{error[worst]:.3g}, radius {np.broadcast_to(radius, error.shape)[worst]:.3g} "
            f"({FREE_SEEDS} base {base_seed()})"
        )


def _numpy(values: object) -> Array:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)
