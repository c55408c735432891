"""A layer whose weights were drawn before and are at hand: it has no law to draw from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NoReturn

from bayes_sbn.bits import num_words
from bayes_sbn.kernels.reference.cdf64 import Float64
from bayes_sbn.kernels.reference.sampling import Int64, Key


@dataclass(frozen=True, eq=False)
class StoredLayer:
    """A dense layer of a stored ensemble.

    Args:
        site: index of the layer, by which its random words are keyed.
        num_units: number of output units.
        num_inputs: number of inputs.
        scale: float64, shape (out,).
        bias: float64, shape (out,).
        noise: name of the activations' noise, or None for the last layer.
        noise_scale: scale of the noise.
        is_real: whether its weights are real, int16 in steps of ``scale``; else they are ±1.
        is_fixed: whether all draws have the same weights, of which there is one copy.
    """

    eps: ClassVar[None] = None
    """Its statistics have been measured, if they were to be."""

    site: int
    num_units: int
    num_inputs: int
    scale: Float64
    bias: Float64
    noise: str | None
    noise_scale: float
    is_real: bool
    is_fixed: bool

    @property
    def bytes_per_draw(self) -> int:
        """Bytes of one draw of the weights."""
        if self.is_real:
            return 2 * self.num_units * self.num_inputs
        return 4 * self.num_units * num_words(self.num_inputs)

    def draw(self, key: Key, draws: Int64) -> NoReturn:
        """Refused: the weights of other draws are not known."""
        del key
        raise RuntimeError(
            f"a stored ensemble has no weights but its own: draws {draws.tolist()} cannot be made "
            "of it. Draw them from the posterior."
        )
