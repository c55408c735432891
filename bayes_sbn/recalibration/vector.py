r"""Vector scaling: a weight and a bias for the log probability of each class.

.. math:: \bar q_c \propto \exp(w_c \ln \bar p_c + b_c) ,

with the w and b of least NLL on the validation rows, a convex problem; the biases sum to 0, which
costs nothing.  All :math:`w_c = 1/T` and b = 0 is temperature scaling.  Biases repair a class that
is predicted too often, which a temperature can't; the accuracy changes.  Logarithms are taken of p
above 1e-12.

Two numbers a class: with few rows the fit may run away, above all where a class is missing or told
from the rest without error.  A penalty, added to the mean NLL as
:math:`\tfrac{\lambda}{2} \sum_c ((w_c - 1)^2 + b_c^2)`, holds it near the identity.  The draws
follow the mean by the least relabelling (:mod:`bayes_sbn.recalibration.draws_of_mean`).

References:
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger. On calibration of modern neural networks. ICML
    2017.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayes_sbn.recalibration.arguments import (
    SMALLEST_LABEL_PROBABILITY,
    few_rows,
    missing_classes,
    warn,
)
from bayes_sbn.recalibration.calibration_file import Fitted
from bayes_sbn.recalibration.draws_of_mean import draws_of_mean
from bayes_sbn.recalibration.recalibration import ClassRecalibration

Float64 = npt.NDArray[np.float64]

BOUND = 100.0
"""The largest absolute weight and bias that are sought."""

_NO_LOSS = 1e-8
_ENOUGH_ROWS_A_CLASS = 20


class VectorScaling(ClassRecalibration):
    """A weight and a bias for the log probability of each class, of least NLL.

    Args:
        penalty: the weight of the squared distance from the identity, at least 0.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> p = rng.dirichlet([1.0, 1.0, 1.0], 5000)
        >>> y = (p.cumsum(-1) < rng.random((5000, 1))).sum(-1)  # labels drawn from p
        >>> biased = p * [3.0, 1.0, 1.0]  # class 0 is said thrice as often
        >>> biased /= biased.sum(-1, keepdims=True)
        >>> scaling = VectorScaling().fit(biased, y)
        >>> scaling.bias.round(1)  # -ln 3 for class 0, less the mean of the three
        array([-0.8,  0.4,  0.4])
    """

    def __init__(self, penalty: float = 0.0) -> None:
        is_number = isinstance(penalty, int | float) and not isinstance(penalty, bool)
        if not is_number or not 0 <= penalty < np.inf:
            raise ValueError(
                f"VectorScaling() needs a penalty of at least 0: received {penalty!r}. Write "
                "VectorScaling(penalty=1e-3), or VectorScaling() for none."
            )
        self._options = {"penalty": float(penalty)}

    @property
    def weight(self) -> Float64:
        """The fitted w; (classes,)."""
        return self._need("weight").numbers["weight"]

    @property
    def bias(self) -> Float64:
        """The fitted b, which sum to 0; (classes,)."""
        return self._need("bias").numbers["bias"]

    def _numbers(
        self, call: str, draws: Float64, labels: npt.NDArray[np.int64]
    ) -> dict[str, Float64]:
        num_classes = draws.shape[-1]
        enough = _ENOUGH_ROWS_A_CLASS * num_classes
        if len(labels) < enough:
            warn(few_rows(call, len(labels), enough, f"{2 * num_classes} weights and biases"))
        penalty = self._options["penalty"]
        missing = missing_classes(call, labels, num_classes)
        if missing and not penalty:
            warn(missing)
        weight, bias, loss = best_vector(_logs(draws.mean(axis=0)), labels, penalty)
        if loss < _NO_LOSS or max(np.abs(weight).max(), np.abs(bias).max()) >= BOUND:
            warn(
                f"{call}: the weights ran away: these rows are told apart without error, or "
                "nearly so. Hold out more rows, or write VectorScaling(penalty=1e-3)."
            )
        return {"weight": weight, "bias": bias - bias.mean()}

    def _draws(self, draws: Float64, fitted: Fitted) -> Float64:
        from scipy.special import softmax

        mean = draws.mean(axis=0)
        scores = _logs(mean) * fitted.numbers["weight"] + fitted.numbers["bias"]
        return draws_of_mean(draws, softmax(scores, axis=-1))

    def _check(self, fitted: Fitted) -> None:
        shapes = {name: values.shape for name, values in fitted.numbers.items()}
        shape = (fitted.num_classes,)
        if shapes != {"weight": shape, "bias": shape} or fitted.num_classes < 2:
            raise ValueError(f"there are not a weight and a bias for each class, but {shapes}")

    def _words(self, fitted: Fitted) -> str:
        return ", ".join(
            f"{name}=[{', '.join(f'{value:.3g}' for value in fitted.numbers[name])}]"
            for name in ("weight", "bias")
        )


def best_vector(
    logs: Float64, labels: npt.NDArray[np.int64], penalty: float
) -> tuple[Float64, Float64, float]:
    """Weights and biases of least penalised mean NLL within the bounds, and its value.

    Args:
        logs: log probabilities (rows, classes).
        labels: (rows,).
        penalty: the weight of the squared distance from the identity.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    num_rows, num_classes = logs.shape
    is_label = labels[:, None] == np.arange(num_classes)

    def loss(numbers: Float64) -> tuple[float, Float64]:
        weight, bias = numbers[:num_classes], numbers[num_classes:]
        log_probs = log_softmax(logs * weight + bias, axis=-1)
        excess = np.exp(log_probs) - is_label
        slope = np.concatenate([(excess * logs).sum(axis=0), excess.sum(axis=0)]) / num_rows
        gap = np.concatenate([weight - 1, bias])
        nll = -log_probs[is_label].mean()
        return float(nll + penalty / 2 * gap @ gap), slope + penalty * gap

    found = minimize(
        loss,
        np.repeat([1.0, 0.0], num_classes),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-BOUND, BOUND)] * (2 * num_classes),
        options={"ftol": 0, "gtol": 1e-12, "maxiter": 5000},
    )
    return found.x[:num_classes], found.x[num_classes:], float(found.fun)


def _logs(probs: Float64) -> Float64:
    return np.asarray(np.log(np.maximum(probs, SMALLEST_LABEL_PROBABILITY)))
