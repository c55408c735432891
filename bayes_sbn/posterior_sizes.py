"""What a posterior is, in numbers and as a table: layers, sizes, entropies."""

from __future__ import annotations

from collections.abc import Sequence

from bayes_sbn.kernels.reference.inputs import LARGEST_INPUT
from bayes_sbn.posterior_chain import Layer
from bayes_sbn.posterior_components import Component
from bayes_sbn.posterior_low_rank_layer import LowRankPosteriorLayer
from bayes_sbn.posterior_real_layer import RealPosteriorLayer


class PosteriorSizes:
    """What follows from the components of a posterior."""

    components: tuple[Component, ...]
    input_scale: float
    likelihood: str
    temperature: float | None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of the one component, from the inputs to the logits.

        Raises:
            ValueError: there are several components, each with layers of its own.
        """
        if len(self.components) > 1:
            raise ValueError(
                f"Posterior.layers: this posterior has {len(self.components)} components, each "
                "with layers of its own. Write posterior.components[0].layers."
            )
        return self.components[0].layers

    @property
    def _shapes(self) -> tuple[Layer, ...]:
        """The layers of a component, whose sizes are those of all."""
        return self.components[0].layers

    @property
    def num_inputs(self) -> int:
        """Number of input features."""
        return self._shapes[0].num_inputs

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self._shapes[-1].num_units

    @property
    def num_weights(self) -> int:
        """Number of ±1 weights of a draw."""
        return sum(layer.num_weights for layer in self._shapes)

    @property
    def num_real_weights(self) -> int:
        """Number of real weights of a draw."""
        return sum(layer.num_real_weights for layer in self._shapes)

    @property
    def entropy(self) -> float:
        """Entropy of all ±1 weights, in bits.

        Of several components, or of weights that share factors, it is the mean entropy given the
        component and the factors; that of C components is at most ``log2 C`` bits higher.
        """
        return sum(component.weight * component.entropy for component in self.components)

    @property
    def bits_per_weight(self) -> float:
        """Mean entropy of a ±1 weight, in bits: 0 for a fixed network, 1 for fair coins."""
        return self.entropy / self.num_weights

    @property
    def input_limit(self) -> float:
        """The largest magnitude of an input."""
        return LARGEST_INPUT * self.input_scale

    def __repr__(self) -> str:
        temperature = "" if self.temperature is None else f", temperature {self.temperature:g}"
        real = f", {self.num_real_weights:,} real weights" if self.num_real_weights else ""
        number = len(self.components)
        several = f"{number} components, " if number > 1 else ""
        lines = [
            f"Posterior({self.likelihood}, {several}{self.num_weights:,} ±1 weights of "
            f"{self.bits_per_weight:.3f} bits{real}, inputs within ±{self.input_limit:g}"
            f"{temperature})"
        ]
        for index, component in enumerate(self.components):
            if number > 1:
                lines.append(f"  component {index}, weight {component.weight:.3g}")
            bits = component.entropy / self.num_weights
            lines += _layer_table(component.layers, bits)
        return "\n".join(lines)


def _layer_table(layers: Sequence[Layer], bits_per_weight: float) -> list[str]:
    """Lines for the layers of a network and their total.

    Args:
        layers: from the inputs to the logits.
        bits_per_weight: of the whole network.
    """
    lines = [
        f"  {'layer':<16}{'in':>7}{'out':>7}  {'noise':<16}{'bits/weight':>11}{'bytes/draw':>12}"
    ]
    for layer in layers:
        noise = "none" if layer.noise is None else f"{layer.noise}({layer.noise_scale:g})"
        is_real = isinstance(layer, RealPosteriorLayer)
        bits = "real" if is_real else f"{layer.entropy / layer.num_weights:.3f}"
        lines.append(
            f"  {layer.name:<16}{layer.num_inputs:>7}{layer.num_units:>7}  {noise:<16}"
            f"{bits:>11}{layer.packed_bytes:>12,}"
        )
    total = sum(layer.packed_bytes for layer in layers)
    lines.append(f"  {'total':<50}{bits_per_weight:>7.3f}{total:>12,}")
    shared = next((la.rank for la in layers if isinstance(la, LowRankPosteriorLayer)), 0)
    if shared:
        lines.append(f"  weights share {shared} normal factors, given which the bits are")
    measured = [layer.name for layer in layers if layer.is_recalibrated]
    if measured:
        lines.append(f"  statistics measured by each draw: {', '.join(measured)}")
    return lines
