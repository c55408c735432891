"""Proximal steps by minimisation, for the Bregman divergence of every noise law.

The potentials are integrals of SciPy's quantile functions in closed form, and share no code with
the package.
"""

import numpy as np
from scipy import stats
from scipy.optimize import minimize_scalar

LAWS = {
    "logistic": stats.logistic,
    "gaussian": stats.norm,
    "laplace": stats.laplace,
    "uniform": stats.uniform(-1, 2),
    "triangular": stats.triang(0.5, loc=-1, scale=2),
}


def entropy(p):
    return p * np.log(p) + (1 - p) * np.log1p(-p)


def _triangular(p):
    p = min(p, 1 - p)
    return (2 * p) ** 1.5 / 3 - p


INTEGRALS = {
    # of the quantile function, up to a constant
    "logistic": entropy,
    "gaussian": lambda p: -stats.norm.pdf(stats.norm.ppf(p)),
    "laplace": lambda p: min(p, 1 - p) * (np.log(2 * min(p, 1 - p)) - 1),
    "uniform": lambda p: p * p - p,
    "triangular": _triangular,
}


def potential(name, mu):
    """``Psi(mu)`` with ``Psi' = F^-1((1 + mu) / 2)``: twice the integral over p."""
    return 2 * INTEGRALS[name]((1 + mu) / 2)


def kl(mu, mu0):
    return sum((1 + s * mu) / 2 * (np.log1p(s * mu) - np.log1p(s * mu0)) for s in (-1, 1))


def best_mean(objective):
    """The mean in (-1, 1) with the least value, to the root of the derivative of a fine search."""
    found = minimize_scalar(
        objective, bounds=(-1 + 1e-13, 1 - 1e-13), method="bounded", options={"xatol": 1e-13}
    )
    return found.x


def proximal(name, eta, g, lr, cost=0.0, mu0=0.0):
    """The mean of the proximal step from the leaf eta, by minimisation."""
    return best_mean(
        lambda mu: (
            g * mu + cost * (kl(mu, mu0) if cost else 0.0) + (potential(name, mu) - eta * mu) / lr
        )
    )


def mean_of(name, eta):
    return 2 * LAWS[name].cdf(eta) - 1
