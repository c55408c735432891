"""The oracle's noise laws, against SciPy's."""

import numpy as np
import pytest
from scipy import stats

from tests.oracle_noise import NOISES, cdf, density

SCIPY_LAWS = {
    "logistic": lambda c: stats.logistic(scale=c),
    "gaussian": lambda c: stats.norm(scale=c),
    "laplace": lambda c: stats.laplace(scale=c),
    "uniform": lambda c: stats.uniform(loc=-c, scale=2 * c),
    "triangular": lambda c: stats.triang(0.5, loc=-c, scale=2 * c),
}


@pytest.mark.parametrize("scale", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("noise", NOISES)
def test_noise_equals_scipy(noise, scale):
    a = np.linspace(-9, 9, 401) + 1e-3
    law = SCIPY_LAWS[noise](scale)
    np.testing.assert_allclose(cdf(noise, a, scale), law.cdf(a), rtol=1e-12, atol=0)
    np.testing.assert_allclose(density(noise, a, scale), law.pdf(a), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("noise", NOISES)
def test_noise_is_symmetric(noise):
    a = np.linspace(-3, 3, 77)
    np.testing.assert_allclose(cdf(noise, a, 0.7) + cdf(noise, -a, 0.7), 1.0, rtol=1e-15)


@pytest.mark.parametrize("noise", NOISES)
def test_noise_density_is_the_derivative(noise):
    a, step = np.linspace(-2, 2, 41) + 1e-3, 1e-5
    slope = (cdf(noise, a + step, 0.7) - cdf(noise, a - step, 0.7)) / (2 * step)
    np.testing.assert_allclose(density(noise, a, 0.7), slope, rtol=1e-6, atol=1e-9)
