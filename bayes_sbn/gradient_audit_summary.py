"""From the moments of gradients to the numbers of an audit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from bayes_sbn.estimators import Estimator
from bayes_sbn.gradient_audit_moments import (
    Array,
    Moments,
    cosine,
    dots,
    jackknife_error,
    squared_distances,
)
from bayes_sbn.gradient_audit_result import (
    EXACT,
    TOTAL,
    Audit,
    BlockAudit,
    Estimate,
    EstimatorAudit,
)


@dataclass(frozen=True)
class Facts:
    """Particles and network evaluations of one step, and its median time."""

    particles: int
    passes: int
    seconds: float


def summary(
    parameters: Mapping[str, Tensor],
    moments: Mapping[str, Moments],
    facts: Mapping[str, Facts],
    chosen: Mapping[str, Estimator],
    **settings: Any,
) -> Audit:
    """All numbers of an audit.

    Args:
        parameters: by name, the blocks.
        moments: by label, and of the exact gradient if it is known.
        facts: of each estimator.
        chosen: the estimators by label.
        settings: the rest of an :class:`Audit`, as it is.
    """
    reference = _reference(moments, chosen)
    truth = None if reference is None else moments[reference]
    sizes = {name: value.numel() for name, value in parameters.items()}
    groups = {name: [k] for k, name in enumerate(sizes)}
    found = {}
    for label in chosen:
        against = None if label == reference else truth
        blocks = {
            name: _block(moments[label], against, indices, sizes[name])
            for name, indices in groups.items()
        }
        found[label] = EstimatorAudit(
            label=label,
            is_exact=moments[label].is_exact,
            particles=facts[label].particles,
            passes=facts[label].passes,
            seconds=facts[label].seconds,
            blocks=blocks,
            total=_block(moments[label], against, range(len(sizes)), sum(sizes.values())),
            mean={
                name: moments[label].means[k][0].double().numpy().reshape(value.shape)
                for k, (name, value) in enumerate(parameters.items())
            },
        )
    labels = list(moments)
    cosines = {
        (a, b): {
            name: _cosine(moments[a], moments[b], indices)
            for name, indices in {TOTAL: range(len(sizes)), **groups}.items()
        }
        for i, a in enumerate(labels)
        for b in labels[i + 1 :]
    }
    return Audit(
        estimators=found,
        cosines=cosines,
        reference=reference,
        **settings,
    )


def _reference(moments: Mapping[str, Moments], chosen: Mapping[str, Estimator]) -> str | None:
    """The exact gradient, or the unbiased estimator of least variance."""
    if EXACT in moments:
        return EXACT
    unbiased = [label for label, estimator in chosen.items() if estimator.unbiased is True]
    return min(unbiased, key=lambda label: sum(v[0] for v in moments[label].variance), default=None)


def _block(found: Moments, truth: Moments | None, indices: Sequence[int], size: int) -> BlockAudit:
    squared_norm = _sum(found.squared_norm(k) for k in indices)
    variance = _sum(found.variance[k] for k in indices)
    squared_bias = None
    if truth is not None:
        pairs = [squared_distances(found, truth, k) for k in indices]
        squared_bias = _estimate(_sum(p[0] for p in pairs), _sum(p[1] for p in pairs))
    return BlockAudit(size, _estimate(squared_norm), _estimate(variance), squared_bias)


def _cosine(a: Moments, b: Moments, indices: Sequence[int]) -> Estimate:
    pairs = [dots(a, b, k) for k in indices]
    norm_a, norm_b = (_sum(m.squared_norm(k) for k in indices) for m in (a, b))
    in_a = cosine(_sum(p[0] for p in pairs), norm_a, norm_b[0])
    in_b = cosine(_sum(p[1] for p in pairs), norm_a[0], norm_b)
    return _estimate(in_a, in_b)


def _estimate(*replicates: Array) -> Estimate:
    return Estimate(float(replicates[0][0]), jackknife_error(*replicates))


def _sum(values: Iterable[Array]) -> Array:
    return np.asarray(np.sum(list(values), axis=0), dtype=np.float64)
