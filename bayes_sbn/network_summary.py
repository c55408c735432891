r"""What a network is made of: layers, bits, memory, operations, and how decided its weights are.

Products of ±1 numbers are XNORs of packed bits; a ±1 weight on a real input adds or subtracts it;
real weights multiply.  Of the posterior ``q(w = +1) = p`` with mean mu = 2p - 1 the summary tells,
in bits per weight,

    entropy  -p log2 p - (1 - p) log2(1 - p),        divergence  KL(q || prior) / log 2,

and the certainty of the signs, the mean of |mu|; of real weights that have a posterior, its mean
standard deviation.  Of a guide under which weights depend on each other these are numbers of its
marginals: of a mixture, say, whose components contradict each other, the entropy is one bit a
weight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from bayes_sbn.affines import Affine, Convolution, Identity, Term
from bayes_sbn.distributions import AffineLikelihood, ConditionalSign, NoisySign, SignBernoulli
from bayes_sbn.elbo_run import Run
from bayes_sbn.elbo_sites import data_plates, is_real_weight
from bayes_sbn.messenger import EstimatorMessenger
from bayes_sbn.network_summary_posterior import summary_of_posterior
from bayes_sbn.network_summary_result import LayerSummary, Summary
from bayes_sbn.posterior import Posterior


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
