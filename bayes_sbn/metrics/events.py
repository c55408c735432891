r"""Events with a probability: what a prediction of classes claims, and whether it came true.

Calibration is a property of probabilities of events.  A row of class probabilities makes several
claims, and there are three customs of what is asked of them:

* ``"top"``: one event a row, that its most probable class is the label; its probability is the
  confidence :math:`\max_c p_c`;
* ``"classwise"``: each class by itself, one event a row, that the label is this class, of
  probability :math:`p_c`; the classes' numbers are then averaged or summed;
* ``"marginal"``: the same events of all classes in one heap, as many as rows times classes.

For two classes the events of class 0 mirror those of class 1 and tell nothing new.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_count
from bayes_sbn.metrics.scores import correctness

Kind = Literal["top", "classwise", "marginal"]
"""Which events: of the most probable class, of each class apart, or of all classes together."""

Of = Literal["top", "all"] | int
"""One set of events: of the most probable class, of all classes together, or of one class."""


def events(
    probs: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], kind: Kind
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Probabilities and whether they came true, (sets, events), a set for each class if classwise.

    Args:
        probs: class probabilities (rows, classes).
        labels: labels (rows,).
        kind: which events.
    """
    if kind == "top":
        return probs.max(axis=-1)[None], correctness(probs, labels)[None]
    probability = np.ascontiguousarray(probs.T)
    outcome = labels == np.arange(probs.shape[1])[:, None]
    if kind == "marginal":
        return probability.reshape(1, -1), outcome.reshape(1, -1)
    return probability, outcome


def events_of(
    call: str,
    probs: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    of: object,
    names: tuple[str, ...],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Probabilities and whether they came true, (events,), of one set of events.

    Args:
        call: the call to name in errors.
        probs: class probabilities (rows, classes).
        labels: labels (rows,).
        of: "top", "all" classes in one heap, or the number of a class against the rest.
        names: which words the call knows.
    """
    if isinstance(of, str):
        if of not in names:
            allowed = " or ".join(f"of={name!r}" for name in names)
            raise ValueError(
                f"{call} needs {allowed}, or the number of a class: received {of!r}. Write "
                "of='top' for the most probable class of each row."
            )
        probability, outcome = events(probs, labels, "top" if of == "top" else "marginal")
        return probability[0], outcome[0]
    label = check_count(call, "of", of, minimum=0, usual=1)
    if label >= probs.shape[1]:
        raise ValueError(
            f"{call} needs of in 0 ... {probs.shape[1] - 1} for {probs.shape[1]} classes: received "
            f"{label}. Write of='top' for the most probable class of each row."
        )
    return probs[:, label], np.asarray(labels == label)


def check_kind(call: str, kind: object, allowed: tuple[Kind, ...]) -> Kind:
    """One of the kinds that a call knows."""
    for known in allowed:
        if kind == known:
            return known
    names = " or ".join(f"kind={known!r}" for known in allowed)
    raise ValueError(
        f"{call} needs {names}: received {kind!r}. Write kind={allowed[0]!r} for "
        f"{_MEANING[allowed[0]]}."
    )


_MEANING: dict[Kind, str] = {
    "top": "the most probable class of each row",
    "classwise": "each class by itself",
    "marginal": "all classes in one heap",
}
