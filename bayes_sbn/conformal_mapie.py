"""MAPIE given predictions in place of a model.

MAPIE asks scikit-learn estimators for predictions.  The estimators here have no model: their
features are the predictions themselves, so that what was predicted once, or saved, is enough.
MAPIE is imported when it is first needed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


def import_mapie(call: str, name: str) -> ModuleType:
    """A module of MAPIE, or an error that says how to install it.

    Args:
        call: the call to name.
        name: of the module within MAPIE.
    """
    from importlib import import_module

    try:
        return import_module(f"mapie.{name}")
    except ImportError as error:
        raise ModuleNotFoundError(
            f"{call} needs MAPIE, which cannot be imported ({error}). Install it: "
            'pip install "bayes-sbn[conformal]".'
        ) from error


def given_classes(num_classes: int) -> Any:
    """An estimator of scikit-learn whose features are the probabilities of the classes.

    Args:
        num_classes: how many.
    """
    from sklearn.base import BaseEstimator, ClassifierMixin

    class GivenClasses(ClassifierMixin, BaseEstimator):
        """Probabilities as features."""

        classes_ = np.arange(num_classes)
        n_features_in_ = num_classes

        def __sklearn_is_fitted__(self) -> bool:
            return True

        def fit(self, x: Float64, y: object = None) -> GivenClasses:
            """Nothing is fitted."""
            del x, y
            return self

        def predict_proba(self, x: Float64) -> Float64:
            """The features."""
            return x

        def predict(self, x: Float64) -> npt.NDArray[np.int64]:
            """The most probable class."""
            return np.asarray(x.argmax(axis=1), dtype=np.int64)

    return GivenClasses()


def given_columns(column: int) -> Any:
    """An estimator of scikit-learn that predicts one of its three features.

    Args:
        column: which one.
    """
    from sklearn.base import BaseEstimator, RegressorMixin

    class GivenColumn(RegressorMixin, BaseEstimator):
        """A prediction as a feature."""

        n_features_in_ = 3

        def __sklearn_is_fitted__(self) -> bool:
            return True

        def fit(self, x: Float64, y: object = None) -> GivenColumn:
            """Nothing is fitted."""
            del x, y
            return self

        def predict(self, x: Float64) -> Float64:
            """The feature."""
            return x[:, column]

    return GivenColumn()


def check_confidence(call: str, confidence: float) -> float:
    """A share of rows strictly between 0 and 1.

    Args:
        call: the call to name.
        confidence: what came.
    """
    is_number = isinstance(confidence, float | int | np.number) and not isinstance(confidence, bool)
    if not is_number or not 0 < confidence < 1:
        raise ValueError(
            f"{call} needs a confidence strictly between 0 and 1, the share of rows that shall be "
            f"covered: received {confidence!r}. Write confidence=0.9."
        )
    return float(confidence)


def check_enough_rows(call: str, num_rows: int, confidence: float, what: str) -> None:
    """Raise where there are fewer rows than 1 / (1 - confidence) or 1 / confidence, MAPIE's bound.

    Args:
        call: the call to name.
        num_rows: calibration rows.
        confidence: the share of rows that shall be covered.
        what: the rows, in words.
    """
    needed = math.ceil(max(1 / (1 - confidence), 1 / confidence) - 1e-9)
    if num_rows < needed:
        raise ValueError(
            f"{call} needs at least {needed} {what} for a confidence of {confidence:g}: received "
            f"{num_rows}. Hold out more rows, or ask for a lower confidence."
        )


@contextmanager
def missing_labels_allowed() -> Iterator[None]:
    """Keep MAPIE from warning of classes that no calibration row has: the promise holds too."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="WARNING: your conformalization dataset has less labels"
        )
        yield
