r"""The law of four estimators on the paper's network by recursion, without visiting joint states.

The hidden layers are a Markov chain of 2^5 states each.  Write h for the 0/1 state of a layer, b
for that of the layer below, a(b) for its pre-activations, F for the logistic function and f for
the loss.  Psa, straight-through and zgr are

    g^3 = differences (psa) or derivatives of f in h,
    delta^k = S^k(b, h) g^k,        S = F'(a) for psa and st, F'(a) / 2 p(h | b) for zgr,
    g^{k-1} = J^k(b, h) g^k,        J_ij = F(a_j | b_i = 1) - F(a_j | b_i = 0) for psa,
                                    W_ji S_j for st and zgr,

and the score function is ``delta^k = f (h - F(a))``; a layer's gradient is ``delta^k (b, 1)``.
First and second moments of g^k given h go down from layer to layer, so that the law of a network
takes milliseconds and hundreds of networks can be compared.  This shares nothing with the package,
whose own estimates ``exact.py`` enumerates; a test holds the two together.
"""

import itertools

import numpy as np

from studies.gradient_accuracy.exact import Law
from studies.gradient_accuracy.network import Array, Data, Parameters, sigmoid

ESTIMATORS = ("psa", "st", "zgr", "score")


def recursive_law(parameters: Parameters, estimator: str, data: Data) -> Law:
    """Mean gradient and summed variance of one draw, for the mean loss of the data."""
    labels = np.array([-1.0, 1.0])
    below = [
        data.x,
        *(np.array(list(itertools.product((0.0, 1.0), repeat=len(b)))) for _, b in parameters[:-1]),
    ]
    steps = [
        _Step(w, b, below[k], below[k + 1], estimator) for k, (w, b) in enumerate(parameters[:-1])
    ]
    reached = [np.eye(len(data.x))]  # P(state of a layer | point)
    for step in steps:
        reached.append(reached[-1] @ step.transition)
    loss, slope = _head(parameters[-1], below[-1], labels)
    # signals of the head, by label and state of the last hidden layer
    first, second = slope[..., None], slope[..., None] ** 2
    laws = [_of_layer(first, second.sum(-1), below[-1], reached[-1], data)]
    if estimator == "score":
        g, moment = loss[..., None], loss[..., None, None] ** 2
    else:
        g = _differences(parameters[-1], below[-1], labels, slope, estimator)
        moment = g[..., :, None] * g[..., None, :]
    for k in reversed(range(len(steps))):
        step = steps[k]
        weighted = step.transition[..., None] * step.slopes
        delta = np.einsum("bhj,yhj->ybj", weighted, np.broadcast_to(g, (*g.shape[:2], step.units)))
        diagonal = np.einsum("yhjj->yhj", moment)
        diagonal = np.broadcast_to(diagonal, (*g.shape[:2], step.units))
        square = np.einsum("bhj,yhj->yb", weighted * step.slopes, diagonal)
        laws.append(_of_layer(delta, square, below[k], reached[k], data))
        if k > 0 and estimator == "score":
            g = np.einsum("bh,yhj->ybj", step.transition, g)
            moment = np.einsum("bh,yhij->ybij", step.transition, moment)
        elif k > 0:
            jacobian = step.jacobian()
            g = np.einsum("bh,bhij,yhj->ybi", step.transition, jacobian, g, optimize=True)
            moment = np.einsum(
                "bh,bhij,yhjl,bhml->ybim",
                step.transition,
                jacobian,
                moment,
                jacobian,
                optimize=True,
            )
    laws.reverse()
    return Law([mean for mean, _ in laws], [variance for _, variance in laws])


class _Step:
    """One hidden layer: from every state below (or point) to every state of its own."""

    def __init__(
        self, weight: Array, bias: Array, below: Array, states: Array, estimator: str
    ) -> None:
        self.weight, self.below, self.estimator = weight, below, estimator
        self.units = len(bias)
        self.pre = below @ weight.T + bias
        p = sigmoid(self.pre)[:, None, :]
        each = np.where(states > 0, p, 1 - p)
        self.transition = each.prod(-1)
        density = np.broadcast_to(p * (1 - p), each.shape)
        self.slopes = {
            "psa": density,
            "st": density,
            "zgr": density / (2 * each),
            "score": states - p,
        }[estimator]

    def jacobian(self) -> Array:
        """(below, states, unit below, unit), the states' axis of length 1 where it is the same."""
        if self.estimator != "psa":
            return np.asarray(self.weight.T * self.slopes[:, :, None, :])
        low = self.pre[:, None, :] - self.below[:, :, None] * self.weight.T
        difference = sigmoid(low + self.weight.T) - sigmoid(low)
        return np.broadcast_to(difference[:, None], (*self.slopes.shape[:2], *difference.shape[1:]))


def _head(head: tuple[Array, Array], states: Array, labels: Array) -> tuple[Array, Array]:
    """The loss and its derivative in the output, (labels, states)."""
    margin = (states @ head[0].T + head[1])[:, 0] * labels[:, None]
    return np.logaddexp(0, -margin), -labels[:, None] * sigmoid(-margin)


def _differences(
    head: tuple[Array, Array], states: Array, labels: Array, slope: Array, estimator: str
) -> Array:
    """What the loss says of each bit of the last hidden layer, (labels, states, units)."""
    if estimator != "psa":
        return slope[..., None] * head[0][0]
    found = []
    for unit in range(states.shape[1]):
        high, low = states.copy(), states.copy()
        high[:, unit], low[:, unit] = 1, 0
        found.append(_head(head, high, labels)[0] - _head(head, low, labels)[0])
    return np.stack(found, -1)


def _of_layer(
    delta: Array, square: Array, below: Array, reached: Array, data: Data
) -> tuple[Array, float]:
    """Mean over the data and its variance, from moments of the signals given label and state."""
    chosen = (data.y > 0).astype(int)
    weighted = reached[..., None] * delta[chosen]  # (points, states below, units)
    inputs = np.concatenate([below, np.ones((len(below), 1))], 1)
    each = np.einsum("nbj,bi->nji", weighted, inputs)
    squares = (reached * square[chosen]) @ (inputs**2).sum(1)
    mean = np.concatenate([each[..., :-1].mean(0).ravel(), each[..., -1].mean(0)])
    variance = (squares - (each**2).sum((1, 2))).sum() / len(data.x) ** 2
    return mean, float(max(variance, 0.0))
