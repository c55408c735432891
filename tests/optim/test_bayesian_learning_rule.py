"""Plain mirror descent on the tempered loss is the Bayesian learning rule, step by step."""

import numpy as np
import pytest
from scipy.optimize import minimize

from tests.optim.sign_regression import TEMPERATURE, SignRegression


def bayesian_learning_rule(problem, rho, steps):
    lam, path = problem.start, [problem.start]
    for _ in range(steps):
        target = problem.prior - problem.natural_gradient(lam) / TEMPERATURE
        lam = (1 - rho) * lam + rho * target
        path.append(lam)
    return path


def test_plain_mirror_descent_is_the_bayesian_learning_rule():
    problem = SignRegression()
    found = problem.fit({"lr": 0.3, "adaptive": False}, 12)
    wanted = bayesian_learning_rule(problem, 0.3 * TEMPERATURE, 12)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert np.abs(np.diff(wanted, axis=0)).max() > 0.05
    # the rate of the average is lr T: with lr alone it is another rule
    assert np.abs(found[1] - bayesian_learning_rule(problem, 0.3, 1)[1]).max() > 0.05


@pytest.mark.parametrize("options", [{}, {"momentum": 0.8}])
def test_fit_ends_at_the_minimum_of_the_tempered_loss(options):
    problem = SignRegression()
    lam = problem.fit({"lr": 0.5, "adaptive": False, **options}, 200)[-1]
    fixed = problem.prior - problem.natural_gradient(lam) / TEMPERATURE
    np.testing.assert_allclose(lam, fixed, atol=1e-9)
    best = minimize(problem.tempered, lam + 0.3, method="BFGS", options={"gtol": 1e-7})
    assert problem.tempered(lam) <= best.fun + 1e-9
    assert problem.tempered(lam) < problem.tempered(problem.start) - 0.5


def test_momentum_follows_the_average_of_gradients():
    problem, decay, lr = SignRegression(), 0.7, 0.4
    found = problem.fit({"lr": lr, "adaptive": False, "momentum": decay}, 6)
    lam, gradients = problem.start, []
    for step in range(6):
        np.testing.assert_allclose(found[step], lam, atol=1e-12)
        kl = TEMPERATURE * (lam - problem.prior)
        gradients.append(problem.natural_gradient(lam) + kl)
        weights = decay ** np.arange(len(gradients))[::-1]
        lam = lam - lr * np.average(gradients, axis=0, weights=weights)
    assert np.abs(found[3] - problem.fit({"lr": lr, "adaptive": False}, 3)[3]).max() > 0.01
