r"""Posterior: a fitted network of random ±1 weights, and perhaps real ones, as plain numbers.

No Pyro and no autograd below this line.  A posterior holds, for each layer, the probabilities of
its ±1 weights (or means and spreads of real ones), scale, bias and noise, and what is needed to use
and to judge them: the step of its 16-bit inputs, the prior, the likelihood, the temperature of the
fit.  Probabilities are kept as the sampler uses them, as multiples of :math:`2^{-32}`, so a
posterior that was saved and loaded draws the same networks.

Inputs of the first layer are rounded to integers from -32767 to 32767 times ``input_scale``, so
that every pre-activation is an exact integer times a scale and no order of summation decides a bit.
The grid belongs to the posterior and not to a batch; :meth:`Posterior.input_error` tells what the
rounding costs (nothing for data on a dyadic grid, such as pixels divided by a power of two).  Real
weights are rounded to a 16-bit grid of their layer for the same reason:
:meth:`Posterior.weight_error`.
"""

from __future__ import annotations

import hashlib
import operator
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike

from bayes_sbn import __version__
from bayes_sbn.ensemble import Ensemble
from bayes_sbn.kernels.reference.inputs import LARGEST_INPUT, input_values, round_inputs
from bayes_sbn.kernels.reference.network import Network
from bayes_sbn.posterior_calibration import calibration_rows
from bayes_sbn.posterior_chain import Layer, check_network, kind_of
from bayes_sbn.posterior_export import export, input_step
from bayes_sbn.posterior_file import (
    FIRST_VERSION,
    REAL_LAYERS_VERSION,
    RECALIBRATED_VERSION,
    Array,
    Json,
    digest_of,
    json_copy,
    read_posterior,
    refuse,
    write_posterior,
)
from bayes_sbn.posterior_layer import typed
from bayes_sbn.posterior_real_layer import RealPosteriorLayer

_LARGEST_NUM_DRAWS = 1 << 32  # a draw is named by a 32-bit word of the counter


@dataclass(frozen=True, eq=False, repr=False)
class Posterior:
    """Laws of weights, layer by layer, and all else that a prediction needs; immutable.

    Args:
        layers: from the inputs to the logits; the last alone has no noise.
        input_scale: the size of one step of the 16-bit inputs.
        likelihood: ``"categorical"``: the last layer's values are logits of classes.
        temperature: factor of the KL in the fit, if known.
        attrs: anything to keep with it, of types that JSON knows.
        package_version: version of the package that made it.
    """

    layers: tuple[Layer, ...]
    input_scale: float
    likelihood: str = "categorical"
    temperature: float | None = None
    attrs: Mapping[str, object] = field(default_factory=dict)
    package_version: str = __version__

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "attrs", json_copy(self.attrs))
        object.__setattr__(self, "input_scale", float(self.input_scale))
        if self.temperature is not None:
            object.__setattr__(self, "temperature", float(self.temperature))
        check_network(
            self.layers, self.likelihood, self.input_scale, self.input_limit, self.temperature
        )

    # Where a posterior comes from, and how it is kept.

    @classmethod
    def from_guide(
        cls,
        model: object,
        guide: object,
        temperature: float | None = None,
        *,
        input_range: float | None = None,
        attrs: Mapping[str, object] | None = None,
    ) -> Posterior:
        """The posterior of a fitted guide, as plain numbers on the CPU.

        Args:
            model: a network that states its ``architecture()``, such as
                :class:`bayes_sbn.models.BinaryMLP`.
            guide: a guide that states its ``weight_probabilities()``, such as
                :class:`bayes_sbn.guides.AutoSignBernoulli`.
            temperature: factor of the KL in the fit, to be kept with it.
            input_range: the largest magnitude an input may have; the step of the inputs is the
                least power of two that holds it in 16 bits.  By default the model's own step.
            attrs: anything to keep with it, of types that JSON knows.

        Raises:
            TypeError: the model or the guide cannot be exported; the message says what to use.
            ValueError: a parameter is NaN or infinite, or layers do not fit together.
        """
        found = export(model, guide)
        step = found.input_scale if input_range is None else input_step(input_range)
        return cls(found.layers, step, found.likelihood, temperature, attrs or {})

    @property
    def format_version(self) -> int:
        """Version of the file format that :meth:`save` writes: the oldest that can hold it."""
        if any(layer.is_recalibrated for layer in self.layers):
            return RECALIBRATED_VERSION
        return REAL_LAYERS_VERSION if self.num_real_weights else FIRST_VERSION

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the posterior to a file: whole, or not at all, whatever fails."""
        header, tensors = self._parts()
        header["attrs"] = dict(self.attrs)
        header["package_version"] = self.package_version
        header["digest"] = self.digest
        write_posterior(path, header, tensors, self.format_version)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Posterior:
        """Read a file of :meth:`save`; runs nothing that the file contains.

        Raises:
            OSError: the file cannot be opened.
            ValueError: it is not a posterior, of another format version, truncated or damaged.
        """
        header, tensors = read_posterior(path)
        try:
            posterior = _from_parts(header, tensors)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            refuse(path, f"its content does not describe a posterior ({error})")
        if header.get("digest") != posterior.digest:
            refuse(path, "its numbers are not those it was saved with")
        return posterior

    # What it is used for.

    def draw(
        self,
        num_draws: int,
        seed: int = 0,
        stream: int = 0,
        *,
        calibrate: ArrayLike | torch.Tensor | None = None,
    ) -> Ensemble:
        """An ensemble of binary networks, one bit a ±1 weight and 16 bits a real one.

        Draw s of a seed and stream is always the same network: ``draw(200)[:100]`` has the
        networks of ``draw(100)``.

        Args:
            num_draws: how many.
            seed: an integer in ``[0, 2**64)``.
            stream: an integer in ``[0, 2**64)``, for independent ensembles of one seed.
            calibrate: rows, such as those of training, shape (rows, inputs), on which each draw
                measures the statistics of its recalibrated layers; only where there are such.

        Raises:
            ValueError: a number is not allowed, or rows to calibrate with are missing or not used.
        """
        if not 1 <= operator.index(num_draws) <= _LARGEST_NUM_DRAWS:
            raise ValueError(
                f"Posterior.draw({num_draws}): the number of draws lies between 1 and 2**32. "
                "Write posterior.draw(200)."
            )
        attrs: dict[str, object] = {"posterior": self.digest, "package_version": __version__}
        rows = calibration_rows(num_draws, self.layers, calibrate, self.input_scale)
        if rows is not None:
            attrs["calibration_rows"] = len(rows)
            attrs["calibration"] = hashlib.sha256(rows.astype("<i2").tobytes()).hexdigest()
        draws = np.arange(num_draws, dtype=np.int64)
        return Ensemble(
            self._network, draws, seed=seed, stream=stream, attrs=attrs, calibration=rows
        )

    def mode(self) -> Posterior:
        """The posterior with every weight fixed, at its likelier sign or at its mean.

        Where both signs are alike it is +1.

        Its draws share their weights and still sample the noise of the activations.
        """
        return replace(self, layers=tuple(layer.mode() for layer in self.layers))

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
        return {
            layer.name: layer.weight_error
            for layer in self.layers
            if isinstance(layer, RealPosteriorLayer)
        }

    # What it is.

    @property
    def num_inputs(self) -> int:
        """Number of input features."""
        return self.layers[0].num_inputs

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.layers[-1].num_units

    @property
    def num_weights(self) -> int:
        """Number of ±1 weights."""
        return sum(layer.num_weights for layer in self.layers)

    @property
    def num_real_weights(self) -> int:
        """Number of real weights."""
        return sum(layer.num_real_weights for layer in self.layers)

    @property
    def entropy(self) -> float:
        """Entropy of all ±1 weights, in bits."""
        return sum(layer.entropy for layer in self.layers)

    @property
    def bits_per_weight(self) -> float:
        """Mean entropy of a ±1 weight, in bits: 0 for a fixed network, 1 for fair coins."""
        return self.entropy / self.num_weights

    @property
    def input_limit(self) -> float:
        """The largest magnitude of an input."""
        return LARGEST_INPUT * self.input_scale

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the numbers, in hexadecimal: equal if and only if two posteriors are.

        It covers the layers and all that a prediction depends on, and neither the attrs nor the
        version of the package.
        """
        return digest_of(*self._parts())

    def __repr__(self) -> str:
        temperature = "" if self.temperature is None else f", temperature {self.temperature:g}"
        real = f", {self.num_real_weights:,} real weights" if self.num_real_weights else ""
        lines = [
            f"Posterior({self.likelihood}, {self.num_weights:,} ±1 weights of "
            f"{self.bits_per_weight:.3f} bits{real}, inputs within ±{self.input_limit:g}"
            f"{temperature})",
            f"  {'layer':<16}{'in':>7}{'out':>7}  {'noise':<16}{'bits/weight':>11}"
            f"{'bytes/draw':>12}",
        ]
        for layer in self.layers:
            noise = "none" if layer.noise is None else f"{layer.noise}({layer.noise_scale:g})"
            is_real = isinstance(layer, RealPosteriorLayer)
            bits = "real" if is_real else f"{layer.entropy / layer.num_weights:.3f}"
            lines.append(
                f"  {layer.name:<16}{layer.num_inputs:>7}{layer.num_units:>7}  {noise:<16}"
                f"{bits:>11}{layer.packed_bytes:>12,}"
            )
        total = sum(layer.packed_bytes for layer in self.layers)
        lines.append(f"  {'total':<50}{self.bits_per_weight:>7.3f}{total:>12,}")
        measured = [layer.name for layer in self.layers if layer.is_recalibrated]
        if measured:
            lines.append(f"  statistics measured by each draw: {', '.join(measured)}")
        return "\n".join(lines)

    @cached_property
    def _network(self) -> Network:
        return Network(tuple(layer.kernel_layer() for layer in self.layers), self.input_scale)

    def _parts(self) -> tuple[Json, dict[str, Array]]:
        """The numbers as JSON and arrays; :func:`_from_parts` is the inverse."""
        tensors: dict[str, Array] = {}
        layers: list[Json] = []
        for index, layer in enumerate(self.layers):
            layers.append(layer.to_entry())
            tensors.update({f"{index}.{name}": v for name, v in layer.to_tensors().items()})
        header: Json = {
            "likelihood": self.likelihood,
            "input_scale": self.input_scale,
            "temperature": self.temperature,
            "layers": layers,
        }
        return header, tensors


def _from_parts(header: Json, tensors: Mapping[str, Array]) -> Posterior:
    """A posterior from a file's header and tensors, neither of which is trusted."""
    entries = header["layers"]
    if not isinstance(entries, list):
        raise TypeError("its layers are not a list")
    kinds = [kind_of(entry) for entry in entries]
    expected = {f"{i}.{name}" for i, kind in enumerate(kinds) for name in kind.TENSORS}
    if set(tensors) != expected:
        raise ValueError("its tensors are not those of its layers")
    layers = [
        kind.from_parts(entry, {name: tensors[f"{i}.{name}"] for name in kind.TENSORS})
        for i, (kind, entry) in enumerate(zip(kinds, entries, strict=True))
    ]
    temperature = header["temperature"]
    return Posterior(
        layers=tuple(layers),
        input_scale=typed(header, "input_scale", float),
        likelihood=typed(header, "likelihood", str),
        temperature=None if temperature is None else typed(header, "temperature", float),
        attrs=typed(header, "attrs", dict),
        package_version=typed(header, "package_version", str),
    )
