"""Cases whose numbers other packages were given too: made by arithmetic, the same everywhere.

Fractional parts of multiples of the golden ratio fill [0, 1) evenly, so that the cases look random
and depend on no generator.
"""

import numpy as np
from scipy.special import ndtri

GOLDEN = 0.6180339887498949


def fractions(*shape: int, start: int = 1) -> np.ndarray:
    """Fractional parts of ``start * GOLDEN, (start + 1) * GOLDEN, ...``, in C order."""
    return ((start + np.arange(np.prod(shape))) * GOLDEN % 1).reshape(shape)


def classification(num_rows: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of three classes, and labels that the most probable class often is."""
    probs = np.exp(4 * fractions(num_rows, 3) ** 2)
    probs /= probs.sum(axis=1, keepdims=True)
    shuffled = fractions(num_rows, start=3 * num_rows + 1)[::-1] ** 2
    cumulative = np.sort(probs, axis=1)[:, ::-1].cumsum(axis=1)
    place = (shuffled[:, None] > cumulative[:, :2]).sum(axis=1)
    return probs, np.argsort(-probs, axis=1)[np.arange(num_rows), place]


def regression(num_draws: int = 5, num_rows: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means and standard deviations (draws, rows), and targets (rows,)."""
    mean = 4 * fractions(num_draws, num_rows) + np.linspace(-2, 2, num_rows)
    scale = 0.3 + fractions(num_draws, num_rows, start=1000)
    noise = ndtri(fractions(num_rows, start=5000) * 0.998 + 0.001)[::-1]
    return mean, scale, mean.mean(axis=0) + 1.2 * noise


def two_classes(confidence: list[float]) -> np.ndarray:
    """Rows whose most probable class is 0, with these probabilities of at least a half."""
    p = np.asarray(confidence, dtype=np.float64)
    return np.stack([p, 1 - p], axis=-1)
