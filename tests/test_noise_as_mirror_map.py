"""The laws of the noise as mirror maps: the potential has the quantile function as derivative."""

import math

import pytest
import torch
from scipy import integrate, optimize, stats

from bayes_sbn.noise import get_noise
from tests import oracle_noise


def bregman(name: str, p: float, start: float) -> float:
    """The divergence of the potential whose derivative is SciPy's quantile function."""
    quantile = {
        "logistic": stats.logistic.ppf,
        "gaussian": stats.norm.ppf,
        "laplace": stats.laplace.ppf,
        "uniform": lambda q: 2 * q - 1,
        "triangular": lambda q: stats.triang.ppf(q, 0.5, loc=-1, scale=2),
    }[name]
    value, _ = integrate.quad(lambda q: quantile(q) - quantile(start), start, p, epsabs=1e-12)
    return value


@pytest.mark.parametrize(("start", "gradient"), [(0.3, 0.7), (0.8, -0.4), (0.55, 1.3)])
@pytest.mark.parametrize("name", oracle_noise.NOISES)
def test_mirror_step_is_the_proximal_step_of_its_divergence(name, start, gradient):
    # F(F^-1(p) - lr g) = argmin_q  g q + D(q, p) / lr, and at the edge where that is outside
    noise, rate = get_noise(name), 0.9
    dual = noise.quantile(torch.tensor(start)) - rate * gradient
    step = noise.cdf(dual).item()
    best = optimize.minimize_scalar(
        lambda q: gradient * q + bregman(name, q, start) / rate,
        bounds=(0.0, 1.0),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert step == pytest.approx(best.x, abs=2e-7)
    assert abs(step - start) > 0.05


def test_divergence_of_logistic_noise_is_the_kullback_leibler_divergence():
    p, q = 0.23, 0.71
    kl = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    assert bregman("logistic", p, q) == pytest.approx(kl, abs=1e-12)
