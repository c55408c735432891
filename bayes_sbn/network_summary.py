r"""What a network is made of: layers, bits, memory, operations, and how decided its weights are.

A ±1 weight costs one bit, where float32 costs 32.  Products of ±1 numbers are XNORs of packed bits;
a ±1 weight on a real input adds or subtracts it; real weights multiply.  Of the posterior
``q(w = +1) = p`` with mean mu = 2p - 1 the summary tells, in bits per weight,

    entropy  -p log2 p - (1 - p) log2(1 - p),        divergence  KL(q || prior) / log 2,

and the certainty of the signs, the mean of |mu|; of real weights that have a posterior, its mean
standard deviation.  Of a guide under which weights depend on each other these are numbers of its
marginals: of a mixture, say, whose components contradict each other, the entropy is one bit a
weight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from bayes_sbn.affines import Affine, Convolution, Identity, Term
from bayes_sbn.distributions import AffineLikelihood, ConditionalSign, NoisySign, SignBernoulli
from bayes_sbn.elbo_run import Run
from bayes_sbn.elbo_sites import data_plates, is_real_weight
from bayes_sbn.messenger import EstimatorMessenger
from bayes_sbn.posterior import Posterior

WORD = 32
"""Bits of a float32."""


@dataclass(frozen=True)
class LayerSummary:
    """One term of a layer's pre-activation.

    Args:
        name: of the site that the layer drives.
        kind: ``dense``, ``conv`` or ``identity``.
        weight: the site of its weights, or what they are instead.
        shape: of the weights.
        units: how many.
        bits: how many ±1 weights.
        reals: how many real numbers, scales and biases included.
        xnors: products of ±1 weights with ±1 inputs, for one row.
        additions: additions of real inputs by ±1 weights, for one row.
        multiplications: products with real weights, for one row.
        entropy: of a weight, bits; None of real weights.
        divergence: of a weight from its prior, bits; None of real weights.
        certainty: the mean of ``|mu|``; None of real weights.
        spread: the mean standard deviation of real weights, 0 of points; None of ±1 weights and
            of parameters.
    """

    name: str
    kind: str
    weight: str
    shape: tuple[int, ...]
    units: int
    bits: int
    reals: int
    xnors: int
    additions: int
    multiplications: int
    entropy: float | None
    divergence: float | None
    certainty: float | None
    spread: float | None = None


@dataclass(frozen=True)
class Summary:
    """The layers of a network; prints as a table."""

    layers: tuple[LayerSummary, ...]

    @property
    def bits(self) -> int:
        """±1 weights."""
        return sum(layer.bits for layer in self.layers)

    @property
    def reals(self) -> int:
        """Real numbers: real weights, scales, biases."""
        return sum(layer.reals for layer in self.layers)

    @property
    def bytes_packed(self) -> int:
        """One network: a bit a ±1 weight, four bytes a real number."""
        return math.ceil(self.bits / 8) + 4 * self.reals

    @property
    def bytes_float(self) -> int:
        """The same in float32."""
        return 4 * (self.bits + self.reals)

    def mean(self, what: str) -> float:
        """The mean over all ±1 weights of ``entropy``, ``divergence`` or ``certainty``."""
        parts = [(layer.bits, getattr(layer, what)) for layer in self.layers if layer.bits]
        return sum(n * v for n, v in parts) / self.bits if self.bits else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return {
            "layers": [asdict(layer) for layer in self.layers],
            "bits": self.bits,
            "reals": self.reals,
            "bytes_packed": self.bytes_packed,
            "bytes_float": self.bytes_float,
            **{what: self.mean(what) for what in ("entropy", "divergence", "certainty")},
        }

    def __str__(self) -> str:
        head = ["layer", "kind", "weights", "shape", "units", "XNOR", "add", "multiply"]
        last = ["spread"] if any(layer.spread is not None for layer in self.layers) else []
        rows = [[*head, "entropy", "KL", "certainty", *last]]
        for layer in self.layers:
            counts = (layer.units, layer.xnors, layer.additions, layer.multiplications)
            shape = " x ".join(map(str, layer.shape)) or "-"
            certain = [layer.entropy, layer.divergence, layer.certainty, layer.spread]
            decided = ["-" if v is None else f"{v:.3f}" for v in certain[: 3 + len(last)]]
            named = [layer.name, layer.kind, layer.weight, shape]
            rows.append([*named, *(f"{n:,}" for n in counts), *decided])
        ratio = self.bytes_float / max(1, self.bytes_packed)
        lines = [
            _table(rows),
            f"{self.bits:,} ±1 weights and {self.reals:,} real numbers: {_size(self.bytes_packed)} "
            f"a network, {_size(self.bytes_float)} in float32, {ratio:.1f} times as much.",
        ]
        if self.bits:
            lines.append(
                f"A ±1 weight has {self.mean('entropy'):.3f} bits of entropy and diverges from its "
                f"prior by {self.mean('divergence'):.3f} bits; the mean |mu| is "
                f"{self.mean('certainty'):.3f}. XNOR, add and multiply are for one row."
            )
        return "\n".join(lines)

    __repr__ = __str__


def summary(model: Any, guide: Any = None, example: Sequence[Any] | None = None) -> Summary:
    """What a network is made of, from one run of it; or from the numbers of its posterior.

    Args:
        model: a Pyro model of noisy signs and likelihoods on pre-activations; or a
            :class:`bayes_sbn.Posterior` alone.
        guide: its posterior; ±1 weights are ``SignBernoulli`` sites, real ones normal or points.
        example: the arguments of one training step, a row or more: inputs and targets.  The models
            of this package have one of their own.

    Returns:
        The layers in the order in which they run.

    Example:
        >>> import torch, bayes_sbn as sbn
        >>> model = sbn.models.BinaryMLP(8, [16], 3, num_data=100)
        >>> guide = sbn.guides.AutoSignBernoulli(model)
        >>> sbn.summary(model, guide).bits
        176
        >>> sbn.summary(sbn.Posterior.from_guide(model, guide)).bits
        176
    """
    if isinstance(model, Posterior):
        if guide is not None or example is not None:
            raise TypeError(
                "summary(posterior): a posterior is summed up from its own numbers, without a "
                "guide or an example. Write summary(posterior), or summary(model, guide)."
            )
        from bayes_sbn.network_summary_posterior import summary_of_posterior

        return summary_of_posterior(model)
    if guide is None:
        raise TypeError(
            f"summary({type(model).__name__}): a model is summed up with its guide. Write "
            "summary(model, guide)."
        )
    if example is None and hasattr(model, "example"):
        example = model.example()
    if isinstance(example, Tensor) or not isinstance(example, Sequence):
        raise TypeError(
            f"summary(model, guide, example): example is a {type(example).__name__}; it must be "
            "the arguments of one training step. Write summary(model, guide, (x[:1], y[:1]))."
        )
    with torch.no_grad():
        run = Run(EstimatorMessenger("st"), model, guide, tuple(example), {}, math.inf)
        posteriors = {
            name: (_marginal(name, site["fn"]), run.model_trace.nodes[name]["fn"])
            for name, site in run.guide_trace.nodes.items()
            if site["type"] == "sample" and isinstance(site["fn"], SignBernoulli)
        }
        plates = data_plates(run.model_trace.nodes)
        reals = {
            name: site
            for name, site in run.guide_trace.nodes.items()
            if site["type"] == "sample" and is_real_weight(site, plates)
        }
        layers: list[LayerSummary] = []
        told: set[str] = set()
        for name, site in run.model_trace.nodes.items():
            if site["type"] != "sample":
                continue
            if isinstance(site["fn"], (NoisySign, AffineLikelihood)):
                layers += _layers(name, site["fn"].affine.terms, posteriors, reals, told)
    return Summary(tuple(layers))


def _layers(
    name: str,
    terms: Sequence[Term],
    posteriors: dict[str, Any],
    reals: dict[str, Any],
    told: set[str],
) -> Iterator[LayerSummary]:
    for term in terms:
        weight = term.weight.open
        drawn = next((key for key, real in reals.items() if real["value"] is weight), "")
        site = term.weight.site or drawn
        is_sign, on_signs = term.weight.is_sign, term.inputs.is_sign
        units = term.unit_shape.numel()
        products = units if isinstance(term, Identity) else units * weight[0].numel()
        shape = _weight_shape(term)
        number = math.prod(shape)
        is_new = site not in told or not site  # weights that two layers share are stored once
        told.add(site)
        entropy = divergence = certainty = None
        if site in posteriors:
            entropy, divergence, certainty = _decided(*posteriors[site])
        rest = sum(t.numel() for t in (term.scale, term.bias) if isinstance(t, Tensor))
        yield LayerSummary(
            name=name,
            kind=_kind(term),
            weight=site if site in posteriors or drawn else _what(term),
            shape=shape,
            units=units,
            bits=number if is_sign and is_new else 0,
            reals=rest + (0 if is_sign or isinstance(term, Identity) or not is_new else number),
            xnors=products if is_sign and on_signs else 0,
            additions=products if is_sign and not on_signs else 0,
            multiplications=0 if is_sign else products,
            entropy=entropy,
            divergence=divergence,
            certainty=certainty,
            spread=float(reals[drawn]["fn"].stddev.mean()) if drawn else None,
        )


def _weight_shape(term: Term) -> tuple[int, ...]:
    if isinstance(term, Identity):
        return ()
    dims = 2 if isinstance(term, Affine) else term.event_dim + 1
    return tuple(term.weight.open.shape[term.weight.open.dim() - dims :])


def _kind(term: Term) -> str:
    if isinstance(term, Convolution):
        return "conv"
    return "identity" if isinstance(term, Identity) else "dense"


def _what(term: Term) -> str:
    return "none" if isinstance(term, Identity) else "±1" if term.weight.is_sign else "real"


def _marginal(name: str, law: SignBernoulli) -> SignBernoulli:
    """The law of the single weights of a site, where it is drawn from one given something else."""
    if not isinstance(law, ConditionalSign):
        return law
    return law.joint.marginal(name).to_event(law.event_dim)


def _decided(q: SignBernoulli, prior: SignBernoulli) -> tuple[float, float, float]:
    """Entropy and divergence in bits per weight, and the mean of |mu|."""
    number = q.shape().numel()
    entropy, divergence = q.entropy().sum(), kl_divergence(q, prior).sum()
    return (
        float(entropy) / number / math.log(2),
        float(divergence) / number / math.log(2),
        float(q.mean.abs().mean()),
    )


def _size(number: int) -> str:
    power = min(3, int(math.log10(max(1, number)) // 3))
    return f"{number / 1000**power:.4g} {('bytes', 'kB', 'MB', 'GB')[power]}"


def _table(rows: list[list[str]]) -> str:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    names = 4  # columns of words stand left, numbers right
    lines = [
        "  ".join(
            cell.ljust(width) if k < names else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
