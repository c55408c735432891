r"""What the 16-bit grids of a posterior round off.

Inputs of the first layer are rounded to integers from -32767 to 32767 times ``input_scale``, so
that every pre-activation is an exact integer times a scale and no order of summation decides a bit.
With ``r(x) = input_scale * rint(x / input_scale)``, the error is the largest ``|x - r(x)|``: 0 for
data on a dyadic grid, such as pixels divided by a power of two.  Real weights are rounded to a grid
of their layer for the same reason.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike

from bayes_sbn.kernels.reference.inputs import input_values, round_inputs
from bayes_sbn.posterior_real_layer import RealPosteriorLayer
from bayes_sbn.posterior_sizes import PosteriorSizes


class PosteriorRounding(PosteriorSizes):
    """The errors that the grids of a posterior make."""

    def input_error(self, x: ArrayLike | torch.Tensor) -> float:
        """The largest error that rounding these inputs to the 16-bit grid makes, in their units.

        Args:
            x: rows, shape (rows, inputs).
        """
        call = "Posterior.input_error()"
        values = input_values(call, x, self.num_inputs)
        steps = round_inputs(call, x, self.num_inputs, self.input_scale)
        rounded = steps * self.input_scale
        return float(np.abs(values - rounded).max(initial=0.0))

    def weight_error(self) -> dict[str, float]:
        """The largest error that rounding to the 16-bit grid makes in a real weight, by layer.

        Half a step of a weight that is drawn, what is rounded off of a point; layers of ±1 weights,
        which are exact, are left out.
        """
        errors: dict[str, float] = {}
        for component in self.components:
            for layer in component.layers:
                if isinstance(layer, RealPosteriorLayer):
                    errors[layer.name] = max(layer.weight_error, errors.get(layer.name, 0.0))
        return errors
