r"""RegressionEnsemble: draws of a posterior over binary networks that predict a real target.

The networks, their bits and their file are those of :class:`bayes_sbn.Ensemble`; the one value of
the last layer is the mean of a normal law,

    ``y | draw s, row n  ~  Normal(scale * dot_sn + bias, sigma_s^2)``,

``dot`` an exact integer and ``sigma`` that of the component that the draw is of.
"""

from __future__ import annotations

from typing import ClassVar, NoReturn

import numpy as np
import torch
from numpy.typing import ArrayLike

from bayes_sbn.container import REGRESSION_ENSEMBLE, Kind
from bayes_sbn.ensemble import Ensemble
from bayes_sbn.ensemble_blocks import repeated_rows
from bayes_sbn.ensemble_networks import MAX_MEMORY
from bayes_sbn.kernels.reference.cdf64 import Float64
from bayes_sbn.predictions_nested import NestedRegressionPredictions
from bayes_sbn.predictions_regression import RegressionPredictions


class RegressionEnsemble(Ensemble):
    """Binary networks for a real target; made by :meth:`bayes_sbn.Posterior.draw`.

    ``save``, ``load``, slices, ``logits`` (here the means, of shape (draws, rows, 1)) and
    ``activations`` are those of :class:`bayes_sbn.Ensemble`.
    """

    _kind: ClassVar[Kind] = REGRESSION_ENSEMBLE

    # What is predicted is another kind of thing; a posterior knows only when it is made of which.
    def predict(  # type: ignore[override]
        self,
        x: ArrayLike | torch.Tensor,
        *,
        backend: str = "auto",
        noise: str = "shared",
        row_offset: int = 0,
        progress: bool | None = None,
        max_memory: int = MAX_MEMORY,
    ) -> RegressionPredictions:
        """The normal law of the target of each row under each draw.

        Arguments as in :meth:`bayes_sbn.Ensemble.predict`.
        """
        means = self.logits(
            x,
            backend=backend,
            noise=noise,
            row_offset=row_offset,
            progress=progress,
            max_memory=max_memory,
        )[..., 0]
        scales = np.broadcast_to(self.sigma_per_draw[:, None], means.shape)
        return RegressionPredictions(means, scales, attrs=self._origin(noise, row_offset))

    def predict_nested(  # type: ignore[override]
        self,
        x: ArrayLike | torch.Tensor,
        num_activations: int = 8,
        *,
        backend: str = "auto",
        progress: bool | None = None,
        max_memory: int = MAX_MEMORY,
    ) -> NestedRegressionPredictions:
        """The target's law under several draws of the activations for each of the weights.

        Arguments as in :meth:`bayes_sbn.Ensemble.predict_nested`.
        """
        many = repeated_rows("predict_nested()", x, num_activations)
        pred = self.predict(
            many, backend=backend, noise="independent", progress=progress, max_memory=max_memory
        )
        shape = (len(self), num_activations, len(many) // num_activations)
        return NestedRegressionPredictions(
            pred.mean_per_draw.reshape(shape),
            pred.scale_per_draw.reshape(shape),
            attrs=pred.attrs,
        )

    @property
    def sigma_per_draw(self) -> Float64:
        """Standard deviation of the target's noise under each draw; (draws,)."""
        assert self.sigmas is not None
        sigmas: Float64 = self.sigmas[self.components]
        return sigmas

    def predict_moments(self, *args: object, **kwargs: object) -> NoReturn:
        """There are no class probabilities to sum up: see :meth:`predict`."""
        del args, kwargs
        raise TypeError(
            "RegressionEnsemble.predict_moments(): the moments are those of class probabilities. "
            "Write ensemble.predict(x), whose mean and variance are exact."
        )

    def labels(self, *args: object, **kwargs: object) -> NoReturn:
        """There are no labels to draw: see :meth:`bayes_sbn.RegressionPredictions.sample`."""
        del args, kwargs
        raise TypeError(
            "RegressionEnsemble.labels(): the target is real. Write "
            'ensemble.predict(x, noise="independent").sample(seed=0).'
        )
