r"""Exact tests of whether values on [0, 1] are uniform, and whether they lie symmetrically.

*Uniform*: Kolmogorov and Smirnov's test of the values u, which notices a bias, and of |2u - 1|,
which notices laws too narrow or too wide; the smaller of the two p-values is doubled.

*Symmetric about one half*, for posteriors that are known to be too narrow and may still be
unbiased: ordered by |u - 1/2|, the farthest first, the signs of u - 1/2 are fair coins.  The
statistic is the largest distance from 0 of their running sum, that is, of the distribution
functions of u and 1 - u (Butler), and its law is that of a random walk.

References:
    C. C. Butler. A test for symmetry using the sample distribution function. Annals of Mathematical
    Statistics 40, 1969.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


def uniformity_p_value(values: Float64) -> float:
    """P-value of independent values being uniform on [0, 1]; exact up to the doubling.

    Args:
        values: (values,), at least one.
    """
    from scipy.stats import kstest

    each = [kstest(v, "uniform").pvalue for v in (values, np.abs(2 * values - 1))]
    return float(min(1.0, 2 * min(each)))


def symmetry_p_value(values: Float64) -> float:
    """P-value of independent values being distributed symmetrically about one half.

    Args:
        values: (values,), of a law without atoms.

    Example:
        >>> symmetry_p_value(np.array([0.9, 0.8, 0.95]))  # of 8 ways, 2 have such a sum
        0.25
    """
    gap = values - 0.5
    signs = np.where(gap[np.argsort(-np.abs(gap))] > 0, 1, -1)
    return reaches(len(values), int(np.abs(np.cumsum(signs)).max(initial=0)))


def reaches(steps: int, height: int) -> float:
    """Probability that a walk of fair ±1 steps is ever as far from 0 as that."""
    if height == 0:
        return 1.0
    inside = np.zeros(2 * height - 1)  # positions from 1 - height to height - 1
    inside[height - 1] = 1.0
    outside = 0.0
    for _ in range(steps):
        outside += 0.5 * (inside[0] + inside[-1])
        moved = np.zeros_like(inside)
        moved[1:] += 0.5 * inside[:-1]
        moved[:-1] += 0.5 * inside[1:]
        inside = moved
    return float(min(1.0, outside))
