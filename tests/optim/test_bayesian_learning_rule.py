"""Plain mirror descent on the tempered loss is the Bayesian learning rule, step by step.

The rule is written here in its own words: the natural gradient is the Euclidean one over the
Fisher information, both of a sum over all states of a few weights.
"""

import itertools

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI
from scipy.optimize import minimize

import bayes_sbn as sbn
from tests.chance import numpy_generator

BITS = 4
TEMPERATURE = 0.4


class Regression:
    """Logistic regression with ±1 weights, and its expected loss as a sum over all weights."""

    def __init__(self) -> None:
        generator = numpy_generator("logistic regression")
        self.x = generator.normal(0, 1, (9, BITS))
        self.y = (generator.uniform(0, 1, 9) < 0.5).astype(float)
        self.prior = generator.normal(0, 0.5, BITS)
        self.start = generator.normal(0, 1, BITS)
        states = np.array(list(itertools.product([-1.0, 1.0], repeat=BITS)))
        a = states @ self.x.T
        self.states = states
        self.costs = (np.logaddexp(0, a) - self.y * a).sum(1)

    def expected(self, lam: np.ndarray) -> float:
        """``E[-log p(y | w)]``."""
        return float(self.costs @ self._probabilities(lam))

    def _probabilities(self, lam: np.ndarray) -> np.ndarray:
        return np.prod(1 / (1 + np.exp(-2 * self.states * lam)), axis=1)

    def natural_gradient(self, lam: np.ndarray) -> np.ndarray:
        """Fisher information to the power -1 times the gradient in lam, of the score function."""
        weighed = self._probabilities(lam)[:, None] * (self.states - np.tanh(lam))
        fisher = 1 - np.tanh(lam) ** 2
        return (self.costs @ weighed) / fisher

    def tempered(self, lam: np.ndarray) -> float:
        """``E[-log p] + T KL``, the KL as a sum over the two states of every weight."""
        kl = 0.0
        for sign in (-1, 1):
            q, p = (1 / (1 + np.exp(-2 * sign * v)) for v in (lam, self.prior))
            kl += float((q * np.log(q / p)).sum())
        return self.expected(lam) + TEMPERATURE * kl

    def fit(self, options: dict, steps: int) -> list[np.ndarray]:
        """The path of the natural parameters under ``SVI`` with the exact loss."""
        x, y, logits = torch.tensor(self.x), torch.tensor(self.y), torch.tensor(2 * self.prior)

        def model():
            w = pyro.sample("w", sbn.SignBernoulli(logits=logits).to_event(1))
            law = dist.Bernoulli(logits=(x * w.unsqueeze(-2)).sum(-1))
            pyro.sample("y", law.to_event(1), obs=y)

        guide = sbn.guides.AutoSignBernoulli(model, example=())
        guide.leaf("w").data.copy_(torch.tensor(self.start))
        optim = sbn.optim.MirrorDescent(options)
        loss = sbn.TraceEstimator_ELBO("exact", temperature=TEMPERATURE)
        svi, path = SVI(model, guide, optim, loss=loss), [self.start]
        for _ in range(steps):
            svi.step()
            path.append(guide.leaf("w").detach().numpy().copy())
        return path


def bayesian_learning_rule(problem, rho, steps):
    lam, path = problem.start, [problem.start]
    for _ in range(steps):
        target = problem.prior - problem.natural_gradient(lam) / TEMPERATURE
        lam = (1 - rho) * lam + rho * target
        path.append(lam)
    return path


def test_plain_mirror_descent_is_the_bayesian_learning_rule():
    problem = Regression()
    found = problem.fit({"lr": 0.3, "adaptive": False}, 12)
    wanted = bayesian_learning_rule(problem, 0.3 * TEMPERATURE, 12)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert np.abs(np.diff(wanted, axis=0)).max() > 0.05
    # the rate of the average is lr T: with lr alone it is another rule
    assert np.abs(found[1] - bayesian_learning_rule(problem, 0.3, 1)[1]).max() > 0.05


@pytest.mark.parametrize("options", [{}, {"momentum": 0.8}])
def test_fit_ends_at_the_minimum_of_the_tempered_loss(options):
    problem = Regression()
    lam = problem.fit({"lr": 0.5, "adaptive": False, **options}, 200)[-1]
    fixed = problem.prior - problem.natural_gradient(lam) / TEMPERATURE
    np.testing.assert_allclose(lam, fixed, atol=1e-9)
    best = minimize(problem.tempered, lam + 0.3, method="BFGS", options={"gtol": 1e-7})
    assert problem.tempered(lam) <= best.fun + 1e-9
    assert problem.tempered(lam) < problem.tempered(problem.start) - 0.5


def test_momentum_follows_the_average_of_gradients():
    problem, decay, lr = Regression(), 0.7, 0.4
    found = problem.fit({"lr": lr, "adaptive": False, "momentum": decay}, 6)
    lam, gradients = problem.start, []
    for step in range(6):
        np.testing.assert_allclose(found[step], lam, atol=1e-12)
        kl = TEMPERATURE * (lam - problem.prior)
        gradients.append(problem.natural_gradient(lam) + kl)
        weights = decay ** np.arange(len(gradients))[::-1]
        lam = lam - lr * np.average(gradients, axis=0, weights=weights)
    assert np.abs(found[3] - problem.fit({"lr": lr, "adaptive": False}, 3)[3]).max() > 0.01
