"""Predictions of rows as named columns, and their file: CSV, or NPZ of NumPy.

Rows are predicted some at a time, so that memory does not grow with their number, unless the draws
are to be kept: what a network says of a row does not depend on the rows beside it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.cli_ensemble import Fitted
from bayes_sbn.cli_preprocessing import Float32, Float64
from bayes_sbn.predictions import Predictions
from bayes_sbn.predictions_regression import RegressionPredictions
from bayes_sbn.whole_file import write_whole

LARGEST_BLOCK = 2**24
"""Numbers of all draws that are held at a time, 128 MB."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """What is said of each row.

    Args:
        columns: numbers or text by name, each (rows,).
        classes: the names of the classes; empty for a real target.
        probabilities: of each class, (rows, classes); None for a real target.
    """

    columns: dict[str, npt.NDArray[Any]]
    classes: tuple[str, ...]
    probabilities: Float64 | None

    @classmethod
    def of(
        cls,
        fitted: Fitted,
        x: Float32,
        *,
        draws: int,
        seed: int,
        backend: str,
        level: float,
        progress: bool | None,
        save_draws: Path | None,
    ) -> Predicted:
        """The predictions of a run.

        Args:
            fitted: posterior and preprocessing.
            x: what the networks see.
            draws: networks in the ensemble.
            seed: of the ensemble.
            backend: what runs it.
            level: of the interval of a real target.
            progress: whether to show bars.
            save_draws: where to write what every draw says.
        """
        per_row = draws * fitted.posterior.num_classes
        size = len(x) if save_draws is not None else max(1, LARGEST_BLOCK // per_row)
        parts = []
        for start in range(0, len(x), size):
            pred = fitted.predict(
                x[start : start + size], draws=draws, seed=seed, backend=backend, progress=progress
            )
            if save_draws is not None:
                pred.save(save_draws)
            parts.append(_columns(pred, level))
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        classes = fitted.preprocessing.classes
        if not classes:
            return cls(columns, (), None)
        probabilities = columns.pop("probabilities")
        names = np.array(classes)[columns.pop("mode")]
        # the likeliest class first, then the probabilities, then how sure they are
        named = {f"p_{name}": probabilities[:, k] for k, name in enumerate(classes)}
        return cls({"predicted": names, **named, **columns}, classes, probabilities)

    def summary(self) -> dict[str, Any]:
        """Means over the rows, as plain values."""
        if self.probabilities is None:
            return {
                "mean": {
                    name: float(values.mean())
                    for name, values in self.columns.items()
                    if name in ("mean", "std")
                }
            }
        counts = {name: int((self.columns["predicted"] == name).sum()) for name in self.classes}
        means = {name: float(self.columns[name].mean()) for name in _ENTROPIES}
        return {"predicted": counts, "mean": means}

    def lines(self) -> list[str]:
        """The same to be read."""
        found = self.summary()
        means = ", ".join(f"{name} {value:.4g}" for name, value in found["mean"].items())
        if self.probabilities is None:
            return [f"means over the rows: {means}"]
        most = sorted(found["predicted"].items(), key=lambda pair: -pair[1])[:10]
        counts = ", ".join(f"{name} {count}" for name, count in most if count)
        return [f"predicted: {counts}", f"means over the rows, nats: {means}"]


_ENTROPIES = ("entropy", "aleatoric", "epistemic")


def _columns(pred: Predictions | RegressionPredictions, level: float) -> dict[str, Any]:
    if isinstance(pred, RegressionPredictions):
        low, high = pred.interval(level)
        return {
            "mean": pred.mean,
            "std": pred.std,
            "aleatoric_std": np.sqrt(pred.aleatoric),
            "epistemic_std": np.sqrt(pred.epistemic),
            "low": low,
            "high": high,
        }
    entropies = {name: getattr(pred, name) for name in _ENTROPIES}
    return {"mode": pred.mode, "probabilities": pred.mean, **entropies}


def write(predicted: Predicted, path: Path) -> None:
    """Write the file, whole or not at all: CSV with a header, or NPZ, by its name.

    Of classes an NPZ has the arrays ``predicted``, ``classes``, ``probabilities`` (rows, classes)
    and the entropies; of a real target the columns of the CSV.
    """
    if path.suffix == ".npz":
        arrays = dict(predicted.columns)
        if predicted.probabilities is not None:
            arrays = {name: arrays[name] for name in ("predicted", *_ENTROPIES)}
            arrays["classes"] = np.array(predicted.classes)
            arrays["probabilities"] = predicted.probabilities
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        write_whole(path, buffer.getvalue())
        return
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(predicted.columns)
    writer.writerows(_rows(predicted.columns))
    write_whole(path, text.getvalue().encode())


def _rows(columns: dict[str, npt.NDArray[Any]]) -> Iterator[tuple[object, ...]]:
    """Cells of each row: numbers as Python writes them, from which they can be read back."""
    yield from zip(*(values.tolist() for values in columns.values()), strict=True)
