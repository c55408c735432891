r"""What a model and a guide state to be exported as a posterior.

* ``model.architecture()`` returns ``{"likelihood": str, "input_scale": float, "layers": [...]}``,
  each layer ``{"name", "weight_site", "scale", "bias", "noise", "noise_scale"}``: scale and bias
  with a number for each unit, noise a name or None, from the inputs to the logits; a layer whose
  statistics each draw measures has its ``"normalisation_eps"`` too; the likelihood ``"normal"``
  has a ``"sigma"`` beside it, the standard deviation of the target's noise;
* ``guide.weight_probabilities()`` returns ``P(w = +1)`` of each weight site by name;
* ``guide.prior_probabilities()`` returns the same of the prior;
* ``guide.component_weights()`` and ``guide.component_probabilities()``, of a mixture, return the
  weights of the components, and the probabilities of each by weight site;
* ``guide.naturals_and_loadings()``, of weights that share normal factors, returns by weight site
  ``lam``, of the shape of the weights, and ``L``, of shape (rank, ...), with ``P(w = +1 | z) =
  sigmoid(2 (lam + sum_k z_k L_k))``;
* ``guide.real_weights()``, where there are real weights, returns mean and standard deviation (0 of
  a point) of each of their sites by name, and ``guide.real_priors()`` the same of the prior, whose
  means are 0; the scale of such a layer is 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class ExportableModel(Protocol):
    """A model that states its architecture."""

    def architecture(self) -> Mapping[str, object]:
        """The network as plain numbers."""


@runtime_checkable
class ExportableGuide(Protocol):
    """A guide over ±1 weights that states their probabilities."""

    def weight_probabilities(self) -> Mapping[str, object]:
        """``P(w = +1)`` by weight site."""

    def prior_probabilities(self) -> Mapping[str, object]:
        """The prior ``P(w = +1)`` by weight site."""


@runtime_checkable
class HybridGuide(Protocol):
    """A guide that has real weights too."""

    def real_weights(self) -> Mapping[str, tuple[object, object]]:
        """Mean and standard deviation by weight site."""

    def real_priors(self) -> Mapping[str, tuple[object, object]]:
        """The same of the prior."""


@runtime_checkable
class MixtureGuide(Protocol):
    """A guide of several components."""

    def component_weights(self) -> object:
        """The weights of the components."""

    def component_probabilities(self) -> Sequence[Mapping[str, object]]:
        """``P(w = +1)`` by weight site, of each component."""


@runtime_checkable
class LowRankGuide(Protocol):
    """A guide whose weights share normal factors."""

    def naturals_and_loadings(self) -> Mapping[str, tuple[object, object]]:
        """Natural parameters and loadings by weight site."""
