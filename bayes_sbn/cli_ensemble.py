"""Predictions of a run's networks for the rows of a table, and their scores."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bayes_sbn.cli_preprocessing import CLASSES, Float32, Preprocessing, real_targets
from bayes_sbn.cli_table import Table
from bayes_sbn.ensemble_regression import RegressionEnsemble
from bayes_sbn.metrics import RegressionReport, Report, report
from bayes_sbn.posterior import Posterior
from bayes_sbn.predictions import Predictions
from bayes_sbn.predictions_regression import RegressionPredictions

LARGEST_KEPT = 2**26
"""Probabilities of all draws that are kept to be scored, 512 MB."""


@dataclass(frozen=True)
class Fitted:
    """What predicts: a posterior, and what is done to a table before it."""

    posterior: Posterior
    preprocessing: Preprocessing

    def __post_init__(self) -> None:
        is_real = self.posterior.likelihood == "normal"
        classes = 1 if is_real else len(self.preprocessing.classes)
        is_match = (
            is_real == (self.preprocessing.task != CLASSES)
            and self.posterior.num_inputs == len(self.preprocessing.columns.inputs)
            and self.posterior.num_classes == classes
        )
        if not is_match:
            raise ValueError("posterior.sbn and preprocessing.json of the run are not of one fit.")

    def inputs(self, table: Table) -> Float32:
        """What the networks see; raise where a row is far beyond those of the fit."""
        x = self.preprocessing.inputs(table)
        is_beyond = ~(np.abs(x) <= np.float32(self.posterior.input_limit))
        if is_beyond.any():
            rows, columns = np.nonzero(is_beyond)
            row, column = int(rows[0]), int(columns[0])
            raise ValueError(
                f"{table.source}: {table.place(row)}, column {table.columns.inputs[column]!r} is "
                f"{table.x[row, column]:g}, far beyond all rows of the fit (such values: "
                f"{len(rows)}). Correct them, or write --clip to take the nearest that the "
                "networks know."
            )
        return x

    def clipped(self, table: Table) -> tuple[Float32, int]:
        """What the networks see with such values put to the nearest they know, and how many."""
        x = self.preprocessing.inputs(table)
        limit = np.float32(self.posterior.input_limit)
        return np.clip(x, -limit, limit), int((np.abs(x) > limit).sum())

    def predict(
        self,
        x: Float32,
        *,
        draws: int,
        seed: int,
        backend: str = "auto",
        progress: bool | None = None,
    ) -> Predictions | RegressionPredictions:
        """Predictions in the units of the table.

        Args:
            x: what the networks see.
            draws: networks in the ensemble.
            seed: of the ensemble.
            backend: what runs it.
            progress: whether to show a bar.
        """
        ensemble = self.posterior.draw(draws, seed=seed)
        if isinstance(ensemble, RegressionEnsemble):
            pred = ensemble.predict(x, backend=backend, progress=progress)
            return pred.rescaled(self.preprocessing.target_scale, self.preprocessing.target_shift)
        return ensemble.predict(x, backend=backend, progress=progress)

    def scores(
        self,
        x: Float32,
        table: Table,
        *,
        draws: int,
        seed: int,
        level: float,
        detail: bool = False,
        backend: str = "auto",
        progress: bool | None = None,
    ) -> Report | RegressionReport:
        """Scores with intervals.

        Of so many rows that the probabilities of all draws would fill the memory only their mean
        is kept, which is what is scored.

        Args:
            x: what the networks see.
            table: the same rows, with targets.
            draws: networks in the ensemble.
            seed: of the ensemble, and of the resampling behind the intervals.
            level: of the intervals.
            detail: the longer list of scores of class probabilities.
            backend: what runs the ensemble.
            progress: whether to show a bar.
        """
        made = self.preprocessing
        if detail and made.task != CLASSES:
            raise ValueError(
                "--detail has more scores of class probabilities, and the run predicts a real "
                "target, whose scores are all there without it. Leave --detail out."
            )
        y = made.labels(table) if made.task == CLASSES else real_targets(table)
        if made.task == CLASSES and draws * len(x) * len(made.classes) > LARGEST_KEPT:
            ensemble = self.posterior.draw(draws, seed=seed)
            moments = ensemble.predict_moments(x, backend=backend, progress=progress)
            found = report(moments.mean, y, detail=detail, level=level, seed=seed)
            return replace(found, num_draws=draws)
        pred = self.predict(x, draws=draws, seed=seed, backend=backend, progress=progress)
        if isinstance(pred, RegressionPredictions):
            return report(pred, y, level=level, seed=seed)
        return report(pred, y, detail=detail, level=level, seed=seed)
