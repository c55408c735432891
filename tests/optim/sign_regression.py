"""Logistic regression with a few ±1 weights, fitted by the package and summed over all states.

The sums share no code with the package: the natural gradient is the Euclidean one, of the score
function, over the Fisher information.
"""

import itertools

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI

import bayes_sbn as sbn
from bayes_sbn.dual import NATURAL, latent_of, natural_of
from bayes_sbn.noise import Noise
from tests.chance import numpy_generator

BITS = 4
TEMPERATURE = 0.4


class SignRegression:
    """Logistic regression with ±1 weights, and its expected loss as a sum over all weights."""

    def __init__(self, bits: int = BITS, temperature: float = TEMPERATURE) -> None:
        self.temperature = temperature
        generator = numpy_generator("logistic regression")
        self.x = generator.normal(0, 1, (9, bits))
        self.y = (generator.uniform(0, 1, 9) < 0.5).astype(float)
        self.prior = generator.normal(0, 0.5, bits)
        self.start = generator.normal(0, 1, bits)
        states = np.array(list(itertools.product([-1.0, 1.0], repeat=bits)))
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
        return self.expected(lam) + self.temperature * kl

    def fit(
        self, options: dict, steps: int, *, weight_kl: bool = True, noise: str | Noise = NATURAL
    ) -> list[np.ndarray]:
        """The path of the natural parameters under ``SVI`` with the exact loss."""
        x, y, logits = torch.tensor(self.x), torch.tensor(self.y), torch.tensor(2 * self.prior)

        def model():
            w = pyro.sample("w", sbn.SignBernoulli(logits=logits).to_event(1))
            law = dist.Bernoulli(logits=(x * w.unsqueeze(-2)).sum(-1))
            pyro.sample("y", law.to_event(1), obs=y)

        guide = sbn.guides.AutoSignBernoulli(model, example=(), noise=noise)
        guide.leaf("w").data.copy_(latent_of(torch.tensor(self.start), guide.noise))
        optim = sbn.optim.MirrorDescent(options)
        loss = sbn.TraceEstimator_ELBO("exact", temperature=self.temperature, weight_kl=weight_kl)
        svi, path = SVI(model, guide, optim, loss=loss), [self.start]
        for _ in range(steps):
            svi.step()
            path.append(natural_of(guide.leaf("w"), guide.noise).numpy().copy())
        return path
