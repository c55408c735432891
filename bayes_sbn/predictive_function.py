"""The layers of a model that is written as a function, read off its own laws.

The laws of a run hold their pre-activations, and these their operands: ``s * (W x) + b`` with the
tensors that the model gave.  A chain of dense layers is recognised where each layer's input is the
activations below it, as they were drawn, and its weights are those of a site, or numbers.  Two runs
on different rows show that scale, bias and numbers depend on neither rows nor draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.affines.dense import Affine
from bayes_sbn.distributions import AffineCategorical, NoisySign
from bayes_sbn.predictive_sites import NUM_ROWS, not_covered, quiet_runs

_STATED = (
    "weight_probabilities",
    "prior_probabilities",
    "component_weights",
    "component_probabilities",
    "naturals_and_loadings",
)


@dataclass(frozen=True, eq=False)
class FunctionNetwork:
    """A network that was read off a function; states its architecture as a model does.

    Args:
        layers: from the inputs to the logits, as ``architecture()`` has them.
        numbers: weights that are no site, by the name that their layer has for them.
        input_scale: the step of the inputs, to be overruled by an input range.
    """

    layers: list[dict[str, object]]
    numbers: dict[str, Tensor]
    input_scale: float = 1.0

    def architecture(self) -> dict[str, object]:
        """The network as plain numbers."""
        return {
            "likelihood": "categorical",
            "input_scale": self.input_scale,
            "layers": self.layers,
        }

    def guide_with_numbers(self, guide: Any) -> Any:
        """What a guide states, and the weights that are numbers as real ones without a spread."""
        if not self.numbers:
            return guide
        zero = {name: torch.zeros_like(value) for name, value in self.numbers.items()}
        one = {name: torch.ones_like(value) for name, value in self.numbers.items()}
        weights = {name: (value, zero[name]) for name, value in self.numbers.items()}
        priors = {name: (zero[name], one[name]) for name in self.numbers}
        has_real = hasattr(guide, "real_weights")
        return SimpleNamespace(
            **{name: getattr(guide, name) for name in _STATED if hasattr(guide, name)},
            real_weights=lambda: {**(guide.real_weights() if has_real else {}), **weights},
            real_priors=lambda: {**(guide.real_priors() if has_real else {}), **priors},
        )


def network_of_function(model: Callable[..., Any], x: Tensor) -> FunctionNetwork:
    """The network that a function samples from.

    Args:
        model: the function.
        x: rows like those that it will be given, of which dtype, device and width are used.

    Raises:
        ValueError: it is no chain of dense layers with class labels; the message names the site.
    """
    ones = x.new_ones((NUM_ROWS, *x.shape[1:]))
    others = ones.clone()
    others.view(-1)[1::2] = -1  # ±1 rows too, which a model may ask for
    batches = ones, others
    first, second = map(_read, quiet_runs(model, *batches), batches)
    for here, there in zip(first.layers, second.layers, strict=True):
        site = str(here["weight_site"])
        pairs = [(here[name], there[name]) for name in ("scale", "bias")]
        if site in first.numbers:
            pairs.append((first.numbers[site], second.numbers[site]))
        if not all(_is_equal(a, b) for a, b in pairs):
            raise not_covered(
                str(here["name"]), "with a scale, bias or weights that change from run to run"
            )
    return first


def _read(trace: Any, rows: Tensor) -> FunctionNetwork:
    """The network of one run on these rows."""
    weights: dict[str, Tensor] = {}
    layers: list[dict[str, object]] = []
    numbers: dict[str, Tensor] = {}
    x = rows
    for name, node in trace.nodes.items():
        if node["type"] != "sample":
            continue
        law, value = node["fn"], node["value"]
        if not isinstance(law, NoisySign | AffineCategorical):
            weights[name] = value
            continue
        term = law.affine.source
        if type(term) is not Affine:
            raise not_covered(name, f"of a pre-activation of kind {type(term).__name__}")
        if not _is_same(term.inputs.open, x):
            raise not_covered(name, "whose inputs are not those of the layer below, as drawn")
        matrix = term.matrix.open.detach()
        if matrix.dim() != 2:
            raise not_covered(name, f"with weights of shape {tuple(matrix.shape)}")
        scale, bias = (
            _of_units(name, given, start, matrix)
            for given, start in ((term.scale, 1.0), (term.bias, 0.0))
        )
        sites = [site for site, drawn in weights.items() if _is_same(term.weight.open, drawn)]
        site = sites[0] if sites else f'numbers of "{name}"'
        if not sites:
            numbers[site] = (scale[:, None] * matrix.double()).clone()
            scale = torch.ones_like(scale)
        noise = law.noise if isinstance(law, NoisySign) else None
        layers.append(
            {
                "name": name,
                "weight_site": site,
                "scale": scale,
                "bias": bias,
                "noise": None if noise is None else noise.name,
                "noise_scale": 1.0 if noise is None else noise.scale,
            }
        )
        x = value
    if not layers:
        raise not_covered(", ".join(weights), "and neither NoisySign nor AffineCategorical")
    if layers[-1]["noise"] is not None:
        raise not_covered(str(layers[-1]["name"]), "after which no class labels come")
    used = [layer["weight_site"] for layer in layers]
    for name in weights:
        if name not in used:
            law = type(trace.nodes[name]["fn"]).__name__
            raise not_covered(name, f"of law {law}, which is not the weights of a layer")
    return FunctionNetwork(layers, numbers)


def _is_same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are one: the same memory in the same order."""
    return (a.data_ptr(), a.shape, a.stride()) == (b.data_ptr(), b.shape, b.stride())


def _is_equal(a: object, b: object) -> bool:
    return isinstance(a, Tensor) and isinstance(b, Tensor) and torch.equal(a, b)


def _of_units(name: str, given: Tensor | None, start: float, matrix: Tensor) -> Tensor:
    """A number for each unit, float64; raise if there are others for other rows."""
    units = matrix.shape[0]
    if given is None:
        return torch.full((units,), start, dtype=torch.float64)
    values = given.detach().double()
    if values.numel() not in (1, units) or (values.dim() and values.shape[-1] not in (1, units)):
        raise not_covered(name, f"with a scale or bias of shape {tuple(values.shape)}")
    return values.reshape(-1).expand(units).clone()
