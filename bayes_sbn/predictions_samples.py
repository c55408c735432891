"""What a dict of samples by site, as ``pyro.infer.Predictive`` returns it, says of predictions.

``Predictive`` puts axes of size 1 between the draws and the rest of a site, one for each plate that
the site is not in; they are taken out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_count, check_labels, to_numpy

Float64 = npt.NDArray[np.float64]


def one_of(
    call: str, given: Mapping[str, str | None], samples: Mapping[str, object]
) -> tuple[str, str]:
    """The one argument that names a site, and that site.

    Args:
        call: the call to name in errors.
        given: the arguments by name, of which one is not None.
        samples: the values by site.
    """
    named = [(name, site) for name, site in given.items() if site is not None]
    if len(named) != 1:
        came = ", ".join(f"{name}={site!r}" for name, site in named) or "none"
        raise ValueError(
            f"{call} needs one of {', '.join(f'{name}=' for name in given)}, the name of a site: "
            f"received {came}. The samples have {_names(samples)}."
        )
    return named[0]


def site_values(
    call: str, samples: Mapping[str, object], site: str, dims: tuple[str, ...]
) -> npt.NDArray[np.generic]:
    """The values of a site over the dims, of which the first are the draws."""
    if not isinstance(samples, Mapping):
        raise TypeError(
            f"{call} needs a dict of samples by site: received {type(samples).__name__}. Pass what "
            "pyro.infer.Predictive(model, guide=guide, num_samples=200)(x) returns."
        )
    if site not in samples:
        raise ValueError(
            f"{call}: there is no site {site!r} in the samples, which have {_names(samples)}."
        )
    values = to_numpy(samples[site])
    shape = values.shape
    while values.ndim > len(dims) and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == len(dims) + 1 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != len(dims):
        raise ValueError(
            f"{call}: site {site!r} has shape {shape}; it must be ({', '.join(dims)}), draws along "
            "the first axis."
        )
    return values


def probabilities_of(call: str, values: npt.NDArray[np.generic], *, is_logits: bool) -> Float64:
    """Class probabilities as float64; of logits their softmax."""
    if values.dtype.kind not in "fiub":
        raise TypeError(f"{call} needs real numbers: received values of type {values.dtype}.")
    numbers = values.astype(np.float64)
    if not is_logits:
        return numbers
    if np.isnan(numbers).any() or np.isposinf(numbers).any():
        raise ValueError(f"{call} needs finite logits: some are NaN or infinite.")
    numbers -= numbers.max(axis=-1, keepdims=True)
    np.exp(numbers, out=numbers)
    numbers /= numbers.sum(axis=-1, keepdims=True)
    return numbers


def frequencies(call: str, labels: npt.NDArray[np.generic], num_classes: int | None) -> Float64:
    """Share of the draws in which each class is the label; (rows, classes).

    Args:
        call: the call to name in errors.
        labels: (draws, rows).
        num_classes: how many classes there are.
    """
    if num_classes is None:
        raise ValueError(
            f"{call} needs num_classes with labels=: a class may occur in no draw. Write "
            "num_classes=10, say."
        )
    number = check_count(call, "num_classes", num_classes, minimum=2, usual=10)
    draws, rows = labels.shape
    checked = check_labels(call, labels.reshape(-1), draws * rows, number).reshape(draws, rows)
    counts = np.zeros((rows, number))
    for draw in checked:
        counts[np.arange(rows), draw] += 1
    return np.asarray(counts / draws)


def _names(samples: Mapping[str, object]) -> str:
    return ", ".join(repr(name) for name in samples) or "no sites"
