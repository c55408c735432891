"""Bayes' rule over all states of weights and activations, in plain loops over Python floats.

Written for itself: it shares no code with the package, and reads only parameters of the models.
"""

import itertools
import math

import numpy as np

CDF = {
    "logistic": lambda a: 1 / (1 + math.exp(-a)),
    "gaussian": lambda a: 0.5 * math.erfc(-a / math.sqrt(2)),
    "laplace": lambda a: 0.5 * math.exp(a) if a < 0 else 1 - 0.5 * math.exp(-a),
    "uniform": lambda a: min(max(0.5 * (1 + a), 0.0), 1.0),
}


def prior_of(layer):
    """``P(w = +1)`` of the weights of a layer, as lists."""
    logits = layer.prior_logit.numpy() * np.ones((layer.out_features, layer.in_features))
    return (1 / (1 + np.exp(-logits))).tolist()


class Plain:
    """A small network by its numbers, and everything about its posterior by nested sums.

    Args:
        layers: from the inputs on, each (scale, bias, prior or None, weights or None) as lists.
        noise: name of the law.
        sigma: of a real target, or None of labels.
    """

    def __init__(self, layers, noise, sigma=None):
        self.layers, self.cdf, self.sigma = layers, CDF[noise], sigma

    @classmethod
    def of(cls, model):
        """Of a BinaryMLP or BinaryRegressor."""
        layers = [
            (
                layer.scale.tolist(),
                layer.bias.tolist(),
                (
                    1 / (1 + np.exp(-layer.prior_logit.numpy())) * np.ones(layer.weight.shape)
                ).tolist(),
            )
            for layer in [*model.hidden, model.output]
        ]
        sigma = model.sigma.item() if hasattr(model, "sigma") else None
        return cls(layers, model.noise.name, sigma)

    def states(self):
        """Every state: its matrices layer by layer, the first weight of all changing fastest."""
        shapes = [np.shape(prior) for _, _, prior in self.layers]
        number = sum(out * inputs for out, inputs in shapes)
        for bits in itertools.product((-1, 1), repeat=number):
            flat, matrices = list(bits[::-1]), []
            for out, inputs in shapes:
                matrices.append([[flat.pop(0) for _ in range(inputs)] for _ in range(out)])
            yield matrices

    def prior(self, matrices):
        p = 1.0
        for (_, _, prior), matrix in zip(self.layers, matrices, strict=True):
            for row, ones in zip(matrix, prior, strict=True):
                for w, p_one in zip(row, ones, strict=True):
                    p *= p_one if w > 0 else 1 - p_one
        return p

    def paths(self, matrices, x):
        """Every state of all activations for one row: probability, last layer's values."""
        hidden = [len(matrix) for matrix in matrices[:-1]]
        for bits in itertools.product((-1, 1), repeat=sum(hidden)):
            left, seen, p = list(bits), list(x), 1.0
            for (scale, bias, _), matrix in zip(self.layers[:-1], matrices[:-1], strict=True):
                a = self.affine(scale, bias, matrix, seen)
                seen = [left.pop(0) for _ in a]
                for value, z in zip(a, seen, strict=True):
                    p *= self.cdf(value) if z > 0 else self.cdf(-value)
            yield p, self.affine(*self.layers[-1][:2], matrices[-1], seen)

    def affine(self, scale, bias, matrix, seen):
        return [
            s * sum(w * v for w, v in zip(row, seen, strict=True)) + b
            for s, b, row in zip(scale, bias, matrix, strict=True)
        ]

    def likelihood(self, values, y):
        if self.sigma is None:
            return self.class_probs(values)[y]
        gap = (y - values[0]) / self.sigma
        return math.exp(-0.5 * gap * gap) / (self.sigma * math.sqrt(2 * math.pi))

    def class_probs(self, values):
        weights = [math.exp(v - max(values)) for v in values]
        return [w / sum(weights) for w in weights]

    def row_likelihood(self, matrices, x, y):
        return sum(p * self.likelihood(values, y) for p, values in self.paths(matrices, x))

    def log_likelihood(self, matrices, x, y, target="bayes"):
        """Of all rows: log of the sum over activations, or the mean of the log."""
        total = 0.0
        for row, label in zip(x, y, strict=True):
            if target == "bayes":
                total += math.log(self.row_likelihood(matrices, row, label))
            else:
                total += sum(
                    p * math.log(self.likelihood(values, label))
                    for p, values in self.paths(matrices, row)
                    if p > 0
                )
        return total

    def log_joint(self, x, y, temperature=1.0, target="bayes"):
        """``log p(w) + l(w) / T`` of every state, an array."""
        return np.array(
            [
                math.log(self.prior(m)) + self.log_likelihood(m, x, y, target) / temperature
                for m in self.states()
            ]
        )
