r"""Posterior: a fitted network of random ±1 weights, and perhaps real ones, as plain numbers.

No Pyro and no autograd below this line.  A posterior has one component or several with weights: a
component holds, for each layer, the probabilities of its ±1 weights (or means and spreads of real
ones, or natural parameters and loadings of weights that share factors), scale, bias and noise.
Beside them stands what is needed to use and to judge them: the step of the 16-bit inputs, the
prior, the likelihood, the temperature of the fit.  Probabilities are kept as the sampler uses them,
as multiples of :math:`2^{-32}`, so a posterior that was saved and loaded draws the same networks.

Inputs and real weights are rounded to grids of 16 bits, which belong to the posterior and not to a
batch: :mod:`bayes_sbn.posterior_rounding`.
"""

from __future__ import annotations

import hashlib
import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike

from bayes_sbn import __version__
from bayes_sbn.container import (
    POSTERIOR,
    Array,
    Json,
    digest_of,
    json_copy,
    read_container,
    refuse,
    write_container,
)
from bayes_sbn.ensemble import Ensemble
from bayes_sbn.ensemble_regression import RegressionEnsemble
from bayes_sbn.kernels.reference.components import Mixture
from bayes_sbn.kernels.reference.network import Network
from bayes_sbn.posterior_calibration import calibration_rows
from bayes_sbn.posterior_chain import Layer, check_network
from bayes_sbn.posterior_components import (
    Component,
    check_components,
    components_of,
    mixable,
    normalised,
)
from bayes_sbn.posterior_export import export, input_step
from bayes_sbn.posterior_parts import arguments_from, least_version, parts_of
from bayes_sbn.posterior_rounding import PosteriorRounding

_LARGEST_NUM_DRAWS = 1 << 32  # a draw is named by a 32-bit word of the counter


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Posterior(PosteriorRounding):
    """Laws of weights, layer by layer, and all else that a prediction needs; immutable.

    Args:
        components: the networks and their weights; or, of a single one, its layers.
        input_scale: the size of one step of the 16-bit inputs.
        likelihood: ``"categorical"``: the last layer's values are logits of classes; or
            ``"normal"``: its one value is the mean of a real target, whose noise has the standard
            deviation ``sigma`` of the component.
        temperature: factor of the KL in the fit, if known.
        attrs: anything to keep with it, of types that JSON knows.
        package_version: version of the package that made it.
    """

    components: tuple[Component, ...]
    input_scale: float
    likelihood: str
    temperature: float | None
    attrs: Mapping[str, object]
    package_version: str

    def __init__(
        self,
        components: Sequence[Component] | Sequence[Layer],
        input_scale: float,
        likelihood: str = "categorical",
        temperature: float | None = None,
        attrs: Mapping[str, object] | None = None,
        package_version: str = __version__,
    ) -> None:
        numbers = {
            "components": components_of(components),
            "input_scale": float(input_scale),
            "likelihood": likelihood,
            "temperature": None if temperature is None else float(temperature),
            "attrs": json_copy(attrs or {}),
            "package_version": package_version,
        }
        for name, value in numbers.items():
            object.__setattr__(self, name, value)
        for component in self.components:
            check_network(
                component.layers,
                self.likelihood,
                self.input_scale,
                self.input_limit,
                self.temperature,
                component.sigma,
            )
        check_components(self.components)

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
        return cls(found.components, step, found.likelihood, temperature, attrs)

    @classmethod
    def mixture(
        cls,
        posteriors: Sequence[Posterior],
        weights: Sequence[float] | None = None,
        *,
        attrs: Mapping[str, object] | None = None,
    ) -> Posterior:
        """The mixture of several posteriors, such as those of restarts of a fit.

        Its temperature is theirs where they all have the same, else it is not known.

        Args:
            posteriors: of networks of the same sizes, for the same inputs.
            weights: their probabilities, up to a factor; by default equal.
            attrs: anything to keep with it, of types that JSON knows.

        Raises:
            TypeError: one of them is no posterior.
            ValueError: they do not go together, or weights are not allowed.

        Example:
            >>> fits = [Posterior.from_guide(m, g) for m, g in restarts]  # doctest: +SKIP
            >>> Posterior.mixture(fits).draw(200).predict(x_test)  # doctest: +SKIP
        """
        given = list(posteriors)
        first = mixable(cls, given)
        components = [
            Component(weight * component.weight, component.layers, component.sigma)
            for weight, each in zip(normalised(weights, len(given)), given, strict=True)
            for component in each.components
        ]
        temperatures = {each.temperature for each in given}
        temperature = temperatures.pop() if len(temperatures) == 1 else None
        return cls(components, first.input_scale, first.likelihood, temperature, attrs)

    @property
    def format_version(self) -> int:
        """Version of the file format that :meth:`save` writes: the oldest that can hold it."""
        return least_version(self.components)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the posterior to a file: whole, or not at all, whatever fails."""
        header, tensors = self._parts()
        header["attrs"] = dict(self.attrs)
        header["package_version"] = self.package_version
        header["digest"] = self.digest
        write_container(path, header, tensors, self.format_version)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Posterior:
        """Read a file of :meth:`save`; runs nothing that the file contains.

        Raises:
            OSError: the file cannot be opened.
            ValueError: it is not a posterior, of another format version, truncated or damaged.
        """
        header, tensors = read_container(POSTERIOR, path)
        try:
            posterior = cls(**arguments_from(header, tensors))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            refuse(POSTERIOR, path, f"its content does not describe a posterior ({error})")
        if header.get("digest") != posterior.digest:
            refuse(POSTERIOR, path, "its numbers are not those it was saved with")
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

        Of a real target it is a :class:`bayes_sbn.RegressionEnsemble`.

        Draw s of a seed and stream is always the same network: ``draw(200)[:100]`` has the
        networks of ``draw(100)``.  Of several components each draw has one, with the probability
        that is its weight; draws are stratified, so that with C equal weights any C draws in a row
        are of C different components.

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
        rows = calibration_rows(num_draws, self._shapes, calibrate, self.input_scale)
        if rows is not None:
            attrs["calibration_rows"] = len(rows)
            attrs["calibration"] = hashlib.sha256(rows.astype("<i2").tobytes()).hexdigest()
        draws = np.arange(num_draws, dtype=np.int64)
        kind, sigmas = Ensemble, None
        if self.likelihood == "normal":
            kind, sigmas = RegressionEnsemble, np.array([each.sigma for each in self.components])
        return kind(
            self._mixture,
            draws,
            seed=seed,
            stream=stream,
            attrs=attrs,
            calibration=rows,
            sigmas=sigmas,
        )

    def mode(self) -> Posterior:
        """The posterior with every weight fixed, at its likelier sign or at its mean.

        Where both signs are alike it is +1.

        Its draws share their weights and still sample the noise of the activations; of several
        components each is at its own mode.
        """
        return replace(self, components=tuple(each.mode() for each in self.components))

    # Its numbers.

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the numbers, in hexadecimal: equal if and only if two posteriors are.

        It covers the layers and all that a prediction depends on, and neither the attrs nor the
        version of the package.
        """
        return digest_of(*self._parts())

    @cached_property
    def _mixture(self) -> Mixture:
        networks = tuple(
            Network(tuple(layer.kernel_layer() for layer in component.layers), self.input_scale)
            for component in self.components
        )
        weights = np.array([component.weight for component in self.components])
        return Mixture(networks, weights)

    def _parts(self) -> tuple[Json, dict[str, Array]]:
        """The numbers as JSON and arrays; :func:`arguments_from` is the inverse."""
        header, tensors = parts_of(self.components)
        header["likelihood"] = self.likelihood
        header["input_scale"] = self.input_scale
        header["temperature"] = self.temperature
        return header, tensors
