"""Names, shapes and dates that a report is given, checked for it."""

from __future__ import annotations

import datetime
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import to_numpy

CALL = "report()"
Float64 = npt.NDArray[np.float64]


def moment(date: datetime.datetime | str | None) -> str:
    """The date that a report states."""
    if date is None:
        date = datetime.datetime.now().astimezone()
    if isinstance(date, datetime.datetime):
        return date.strftime("%Y-%m-%d %H:%M %Z").rstrip()
    if isinstance(date, str):
        return date
    raise TypeError(
        f"{CALL} needs date as a datetime or a str: received {type(date).__name__}. Write "
        'date="2026-01-31".'
    )


def check_names(
    name: str, given: Sequence[object] | None, number: int, prefix: str
) -> tuple[str, ...]:
    """Names that differ, as many as there must be; by default numbers after a word."""
    if given is None:
        return numbered(prefix, number)
    names = tuple(map(str, given)) if not isinstance(given, str) else ()
    if len(names) != number:
        what = "a str" if isinstance(given, str) else f"{len(names)} names"
        raise ValueError(
            f"{CALL} needs {name} to be {number} names, one for each in their order: received "
            f"{what}."
        )
    twice = sorted({each for each in names if names.count(each) > 1})
    if twice:
        raise ValueError(f"{CALL} needs {name} that differ: {twice[0]!r} is there twice.")
    return names


def numbered(prefix: str, number: int) -> tuple[str, ...]:
    """Names that are numbers after a word."""
    return tuple(f"{prefix}{index}" for index in range(number))


def no_class_names(given: object) -> tuple[str, ...]:
    """The names of the classes of a real target: none."""
    if given is not None:
        raise ValueError(
            f"{CALL}: class_names are for labels of classes, and the target of this posterior is "
            "real. Leave them out."
        )
    return ()


def check_image_shape(shape: object, inputs: int) -> tuple[int, ...] | None:
    """The shape of an input that is an image; None where it is none."""
    if shape is None:
        return None
    sizes = tuple(map(operator.index, shape)) if isinstance(shape, Sequence) else ()
    is_image = len(sizes) == 2 or (len(sizes) == 3 and sizes[2] == 3)
    if not is_image or math.prod(sizes) != inputs:
        raise ValueError(
            f"{CALL} needs image_shape=(height, width) or (height, width, 3) of {inputs} values: "
            f"received {shape!r}. Leave it out where inputs are no images."
        )
    return sizes


def check_rescale(given: Any) -> tuple[float, float]:
    """Factor and shift of a real target."""
    try:
        scale, shift = map(float, given)
    except (TypeError, ValueError):
        scale = shift = math.nan
    if not (math.isfinite(scale) and scale != 0 and math.isfinite(shift)):
        raise ValueError(
            f"{CALL} needs rescale=(scale, shift), finite, scale not 0, such that the target is "
            f"scale * standardised + shift: received {given!r}. Write rescale=(y_train.std(), "
            "y_train.mean())."
        )
    return scale, shift


def check_rescale_inputs(given: object, inputs: int) -> tuple[Float64, Float64]:
    """Factors and shifts of the inputs, each a number or one an input; 1 and 0 by default."""
    parts = tuple(given) if isinstance(given, Sequence) else ()
    if given is None:
        return np.ones(inputs), np.zeros(inputs)
    try:
        numbers = [np.broadcast_to(np.asarray(to_numpy(p), np.float64), inputs) for p in parts]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 2 or not np.isfinite(numbers).all() or not np.all(numbers[0] != 0):
        raise ValueError(
            f"{CALL} needs rescale_inputs=(scale, shift), each a finite number or one for each of "
            f"{inputs} inputs, no scale 0, such that inputs are shown as scale * x + shift. Write "
            "rescale_inputs=(X_train.std(0), X_train.mean(0))."
        )
    return numbers[0], numbers[1]
