"""RecalibratedEnsemble: an ensemble and a recalibration fitted to its predictions, as one object.

Its ``predict(x)`` is the recalibration of the ensemble's, draws and all.  It is saved as a folder
of the two files that both have by themselves:

    ``ensemble.sbn``         of :meth:`bayes_sbn.Ensemble.save`
    ``recalibration.json``   of the recalibration's ``save``
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from numpy.typing import ArrayLike

from bayes_sbn.ensemble import Ensemble
from bayes_sbn.ensemble_regression import RegressionEnsemble
from bayes_sbn.predictions import Predictions
from bayes_sbn.predictions_regression import RegressionPredictions
from bayes_sbn.recalibration.loading import load as load_recalibration
from bayes_sbn.recalibration.recalibrated_law import RecalibratedLaw
from bayes_sbn.recalibration.recalibration import Recalibration
from bayes_sbn.recalibration.regression_recalibration import RegressionRecalibration

ENSEMBLE_FILE = "ensemble.sbn"
RECALIBRATION_FILE = "recalibration.json"


class RecalibratedEnsemble:
    """An ensemble whose predictions are recalibrated.

    Args:
        ensemble: the networks.
        recalibration: of ``sbn.recalibration``, fitted to predictions of this ensemble, or of
            another of the same posterior.

    Example:
        With ``scaling = sbn.recalibration.TemperatureScaling()`` fitted to
        ``ensemble.predict(x_valid)`` and the labels of these rows, write
        ``sbn.RecalibratedEnsemble(ensemble, scaling).predict(x)``.
    """

    def __init__(self, ensemble: Ensemble, recalibration: Recalibration) -> None:
        call = "RecalibratedEnsemble()"
        if not isinstance(ensemble, Ensemble):
            raise TypeError(
                f"{call} needs an ensemble: received {type(ensemble).__name__}. Write "
                "RecalibratedEnsemble(posterior.draw(200), recalibration)."
            )
        if not isinstance(recalibration, Recalibration):
            raise TypeError(
                f"{call} needs a recalibration: received {type(recalibration).__name__}. Write "
                "RecalibratedEnsemble(ensemble, scaling) with a fitted TemperatureScaling(), say."
            )
        if not recalibration.is_fitted:
            raise ValueError(
                f"{call}: {recalibration!r}. Write .fit(ensemble.predict(x_valid), y_valid) first."
            )
        of_reals = isinstance(recalibration, RegressionRecalibration)
        if of_reals is not isinstance(ensemble, RegressionEnsemble):
            advice = (
                "It predicts classes: fit TemperatureScaling, say."
                if of_reals
                else "It predicts a real target: fit VarianceScaling, say."
            )
            raise TypeError(
                f"{call}: {type(recalibration).__name__} is not for a {type(ensemble).__name__}. "
                + advice
            )
        self._ensemble = ensemble
        self._recalibration = recalibration

    @property
    def ensemble(self) -> Ensemble:
        """The networks."""
        return self._ensemble

    @property
    def recalibration(self) -> Recalibration:
        """What is done with their predictions."""
        return self._recalibration

    def __len__(self) -> int:
        """Number of draws."""
        return len(self._ensemble)

    def __repr__(self) -> str:
        return f"RecalibratedEnsemble({self._ensemble!r}, {self._recalibration!r})"

    def predict(
        self, x: ArrayLike | torch.Tensor, **options: Any
    ) -> Predictions | RegressionPredictions | RecalibratedLaw:
        """The recalibrated predictions of each row under each draw.

        Args:
            x: rows, shape (rows, inputs).
            options: those of the ensemble's own ``predict``, such as ``backend`` and ``noise``.
        """
        pred = self._ensemble.predict(x, **options)
        recalibrated: Predictions | RegressionPredictions | RecalibratedLaw
        recalibrated = self._recalibration.apply(pred)  # type: ignore[attr-defined]
        return recalibrated

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write both files into a folder, which is made if it is not there.

        Args:
            folder: new, or empty; so that no file of another ensemble stays beside these.

        Raises:
            FileExistsError: the folder has files.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise FileExistsError(
                f"RecalibratedEnsemble.save({str(folder)!r}): the folder has files. Name a new "
                "folder, or empty this one."
            )
        self._ensemble.save(target / ENSEMBLE_FILE)
        self._recalibration.save(target / RECALIBRATION_FILE)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> RecalibratedEnsemble:
        """Read a folder of :meth:`save`; runs nothing that its files contain.

        Args:
            folder: the folder.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is truncated, damaged or of something else.
        """
        source = Path(folder)
        missing = [
            name for name in (ENSEMBLE_FILE, RECALIBRATION_FILE) if not (source / name).is_file()
        ]
        if missing:
            raise FileNotFoundError(
                f"RecalibratedEnsemble.load({str(folder)!r}): there is no "
                f"{' and no '.join(missing)} in it. Pass a folder that save(folder) of a "
                "RecalibratedEnsemble wrote."
            )
        recalibration = load_recalibration(source / RECALIBRATION_FILE)
        of_reals = isinstance(recalibration, RegressionRecalibration)
        kind = RegressionEnsemble if of_reals else Ensemble
        return cls(kind.load(source / ENSEMBLE_FILE), recalibration)
