"""A network of ten ±1 weights whose posterior is a list: everything by sums over 1024 networks."""

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import expit, log_softmax, logsumexp

from bayes_sbn.posterior import Posterior
from bayes_sbn.posterior_layer import PosteriorLayer
from tests.chance import numpy_generator

SIZES = (3, 2, 2)
NUM_WEIGHTS = 10
STATES = np.array(list(itertools.product([-1.0, 1.0], repeat=NUM_WEIGHTS)))
HIDDEN = np.array(list(itertools.product([-1.0, 1.0], repeat=2)))
TRUE = 700
"""The network that the data are drawn from, by its place in the list."""


@dataclass(frozen=True)
class Tiny:
    """Data and the exact posterior.

    Args:
        num_rows: of the data.
        scale: of the pre-activations: how loud the weights are.
        temperature: of the fit.
    """

    num_rows: int
    scale: float
    temperature: float = 1.0

    @property
    def numbers(self):
        """Biases that tell hidden units and their signs apart, and scales."""
        s = self.scale
        return (s * np.array([0.5, -1.2]), np.array([0.3, -0.4])), s

    @cached_property
    def x(self):
        g = numpy_generator(f"enumerated {self.num_rows} {self.scale}")
        return np.round(g.normal(size=(self.num_rows, 3)) * 8) / 8

    @cached_property
    def y(self):
        g = numpy_generator(f"enumerated labels {self.num_rows} {self.scale}")
        probs = np.exp(self.log_lik_of_both[TRUE])
        return (g.uniform(size=self.num_rows) < probs[:, 1]).astype(int)

    @cached_property
    def log_joint(self):
        """``log p(z | x, w)`` and ``log p(c | z, w)`` for all; (states, rows, hidden, ...)."""
        (b1, b2), s = self.numbers
        w1, w2 = STATES[:, :6].reshape(-1, 2, 3), STATES[:, 6:].reshape(-1, 2, 2)
        a = s * np.einsum("sji,ni->snj", w1, self.x) + b1
        plus = np.log(expit(a))[:, :, None, :], np.log(expit(-a))[:, :, None, :]
        log_z = np.where(HIDDEN > 0, *plus).sum(-1)
        logits = s * np.einsum("scj,hj->shc", w2, HIDDEN) + b2
        return log_z, log_softmax(logits, axis=-1)

    @cached_property
    def log_lik_of_both(self):
        """``log p(c | x_n, w)``; (states, rows, 2)."""
        log_z, log_c = self.log_joint
        return logsumexp(log_z[..., None] + log_c[:, None], axis=2)

    @cached_property
    def log_lik(self):
        """``log p(y_n | w)``; (states, rows)."""
        return self.log_lik_of_both[:, np.arange(self.num_rows), self.y]

    @property
    def log_target(self):
        """By name, of each state, with the uniform prior."""
        log_z, log_c = self.log_joint
        prior = -NUM_WEIGHTS * np.log(2)
        of_label = log_c[:, :, self.y].transpose(0, 2, 1)
        mean = (np.exp(log_z) * of_label).sum((1, 2))
        return {
            "bayes": prior + self.log_lik.sum(1),
            "trained": prior + mean / self.temperature,
        }

    def law(self, target="bayes"):
        """The normalised target."""
        log = self.log_target[target]
        return np.exp(log - logsumexp(log))

    def marginals(self, target="bayes"):
        """``P(w_i = +1)`` under the target."""
        return np.clip(self.law(target) @ (STATES > 0), 0.0, 1.0)

    def log_q(self, p):
        with np.errstate(divide="ignore"):
            return np.where(STATES > 0, np.log(p), np.log1p(-p)).sum(1)

    @property
    def log_evidence(self):
        return logsumexp(self.log_target["bayes"])

    @property
    def exact_loo(self):
        """``sum_n log p(y_n | the other rows)``."""
        total = self.log_target["bayes"]
        without = total[:, None] - self.log_lik
        return float((logsumexp(total) - logsumexp(without, axis=0)).sum())

    def missed(self, p, target="bayes"):
        """The mass of the states that q has less than a hundredth of."""
        law = self.law(target)
        return law[law > 100 * np.exp(self.log_q(p))].sum()

    def posterior(self, p):
        """The guide with these probabilities, as the package has it."""
        (b1, b2), s = self.numbers
        layers = [
            PosteriorLayer("hidden", 0, p[:6].reshape(2, 3), np.full(2, s), b1, "logistic"),
            PosteriorLayer("output", 1, p[6:].reshape(2, 2), np.full(2, s), b2),
        ]
        return Posterior(layers, 2.0**-10, temperature=self.temperature)
