r"""Gradient estimators audited on a network and a batch of the user's own.

For every estimator g of the gradient of ``-ELBO_T`` in a block of parameters: the norm of its mean,
its variance summed over the entries, its bias, and the cosines between the means of all pairs, each
with its standard error (:mod:`bayes_sbn.gradient_audit_moments`).  Where weights and activations of
the batch together are at most ``exact_bits`` bits, the exact gradient is there by enumeration, and
the law of each estimator that is a function of the states alone
(:mod:`bayes_sbn.gradient_audit_exact`); otherwise biases are against the estimator of the list that
is unbiased and varies least.

An audit leaves no trace: parameters, their ``grad``, buffers, Pyro's parameter store, the random
generators and the state of estimators are what they were.
"""

from __future__ import annotations

import copy
import functools
import statistics
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from bayes_sbn.elbo import TraceEstimator_ELBO
from bayes_sbn.estimators import Estimator, Exact, ScoreFunction, get_estimator
from bayes_sbn.gradient_audit_exact import (
    Step,
    depends_on_states_alone,
    enumerated_moments,
    runs_side_by_side,
    states_at_once,
)
from bayes_sbn.gradient_audit_moments import Accumulator, Moments
from bayes_sbn.gradient_audit_result import EXACT, TOTAL, Audit
from bayes_sbn.gradient_audit_run import Run, nothing_changed
from bayes_sbn.gradient_audit_summary import Facts, summary

DEFAULT_ESTIMATORS = ("psa", "st", "zgr", "score", "disarm")
"""What is audited where nothing is asked for: they cost at most two passes."""

WARM_UP = 3
"""Steps before the first that counts, for timing and for estimators that keep running means."""

TIMED_STEPS = 20
"""Steps that are timed where the law is enumerated and nothing else needs ordinary steps."""

MAX_EXACT_BITS = 20
"""A million states."""


def audit(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    batch: Any,
    estimators: Sequence[str | Estimator] | Mapping[str, str | Estimator] = DEFAULT_ESTIMATORS,
    *,
    repeats: int = 100,
    exact_bits: int = 14,
    num_particles: int = 1,
    temperature: float | str = 1.0,
    weight_kl: bool = True,
    parameters: Mapping[str, Tensor] | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> Audit:
    r"""Variance, bias and agreement of gradient estimators on a network and a batch.

    Args:
        model: a Pyro model.
        guide: its guide, with its parameters set up.
        batch: what model and guide are called with: a tensor, a tuple, or a dict of keywords.
        estimators: registered names or instances, or a dict of them by label.  A site's own
            ``infer={"estimator": ...}`` goes before, as it does in training.
        repeats: gradients drawn for each number that is not enumerated.
        exact_bits: up to how many latent bits, weights and activations of the batch together, all
            states are enumerated, in a few seconds an estimator at 14 bits; 0 for never.
        num_particles: draws that one step averages over; estimators that need more, such as
            ``"loo"``, get what they need.  More than one is always sampled.
        temperature: of the KL, as in :class:`bayes_sbn.TraceEstimator_ELBO`.
        weight_kl: whether the KL of the weights is part of the loss.
        parameters: the tensors to differentiate in, by name; default those of model and guide.
        seed: of all draws; each estimator has its own stream, whatever else is in the list.
        progress: show progress bars; default where standard error is a terminal.

    Example:
        >>> import torch, bayes_sbn as sbn
        >>> model = sbn.models.BinaryMLP(2, [2], 2, num_data=1)
        >>> guide = sbn.guides.AutoSignBernoulli(model)
        >>> found = sbn.audit(model, guide, (torch.ones(1, 2), torch.tensor([0])), ["psa", "st"])
        >>> found["psa"].total.bias < found["st"].total.bias
        True
    """
    chosen = _labelled(estimators)
    for name, value, least, most in (
        ("repeats", repeats, 4, None),
        ("exact_bits", exact_bits, 0, MAX_EXACT_BITS),
        ("num_particles", num_particles, 1, None),
        ("seed", seed, 0, None),
    ):
        _check_integer(name, value, least, most)
    if not getattr(guide, "is_set_up", True):
        raise ValueError(
            "audit(model, guide, ...): the guide has no parameters before its first call; write "
            "AutoSignBernoulli(model, example=(x[:2],)) to have them at once."
        )
    run = Run(model, guide, *_arguments(batch))
    bound = functools.partial(TraceEstimator_ELBO, temperature=temperature, weight_kl=weight_kl)
    with nothing_changed(model, guide):
        run.find_parameters(parameters)
        run.find_bits()
        why_sampled = _why_sampled(run, exact_bits)
        moments: dict[str, Moments] = {}
        facts: dict[str, Facts] = {}
        if not why_sampled:
            moments[EXACT] = _enumerate(
                run, ScoreFunction(), bound, "exact gradient", progress, own_estimators=False
            )
        for label, estimator in chosen.items():
            particles = max(num_particles, estimator.particles)
            elbo = bound(
                copy.deepcopy(estimator),
                num_particles=particles,
                vectorize_particles=particles > 1,
                max_plate_nesting=run.plate_nesting,
            )
            step = run.step(elbo)
            run.seed(f"{seed}/{label}")
            generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}/{label}".encode()))
            is_exact = (
                not why_sampled
                and particles == 1
                and depends_on_states_alone(step, run.num_bits, generator)
            )
            run.seed(f"{seed}/{label}")
            sampled, seconds = _sample(
                step, TIMED_STEPS if is_exact else repeats, label, run, progress
            )
            moments[label] = (
                _enumerate(run, estimator, bound, label, progress) if is_exact else sampled
            )
            facts[label] = Facts(particles, elbo.passes, seconds)
    return summary(
        run.parameters,
        moments,
        facts,
        chosen,
        num_bits=run.num_bits,
        exact_bits=exact_bits,
        why_sampled=why_sampled,
        repeats=repeats,
        seed=seed,
    )


def _labelled(
    estimators: Sequence[str | Estimator] | Mapping[str, str | Estimator],
) -> dict[str, Estimator]:
    """The estimators by label: their own, or by name, or what an instance prints."""
    if isinstance(estimators, (str, Estimator)):
        raise TypeError(
            f"audit(estimators={estimators!r}) needs a list, or a dict by label; write "
            f"[{estimators!r}]."
        )
    if isinstance(estimators, Mapping):
        pairs = list(estimators.items())
    else:
        pairs = [(e if isinstance(e, str) else repr(e), e) for e in estimators]
    if not pairs:
        raise ValueError('audit(estimators=[]) needs at least one, such as ["psa", "st"].')
    chosen: dict[str, Estimator] = {}
    for label, estimator in pairs:
        if isinstance(estimator, Exact) or estimator == "exact":
            raise ValueError(
                'audit(estimators=...): "exact" is no estimate; where the bits of the batch are at '
                "most exact_bits, its gradient is what the others are compared with. Leave it out "
                "and see audit.reference; for more bits write audit(..., exact_bits=...), at most "
                f"{MAX_EXACT_BITS}."
            )
        if label in chosen or label in (EXACT, TOTAL):
            raise ValueError(
                f'audit(estimators=...): the label "{label}" is taken; give labels of your own, '
                f'as in {{"mine": estimator}}.'
            )
        try:
            chosen[label] = get_estimator(estimator)
        except (TypeError, ValueError) as error:
            raise type(error)(f"audit(estimators=...): {error}") from None
    return chosen


def _check_integer(name: str, value: int, least: int, most: int | None) -> None:
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if is_integer and value >= least and (most is None or value <= most):
        return
    allowed = f"of at least {least}" if most is None else f"from {least} to {most}"
    raise ValueError(f"audit({name}={value!r}): {name} is an integer {allowed}.")


def _arguments(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(batch, Mapping):
        return (), dict(batch)
    if isinstance(batch, (tuple, list)):
        return tuple(batch), {}
    return (batch,), {}


def _why_sampled(run: Run, exact_bits: int) -> str:
    if run.others:
        return f"no enumeration: {', '.join(run.others)}"
    if run.num_bits > exact_bits:
        return f"no enumeration: more bits than exact_bits={exact_bits}"
    return ""


def _enumerate(
    run: Run,
    estimator: Estimator,
    bound: Callable[..., TraceEstimator_ELBO],
    label: str,
    progress: bool | None,
    *,
    own_estimators: bool = True,
) -> Moments:
    """The exact moments; many states a run where the model can do that, with the same result."""
    alone = run.step(bound(copy.deepcopy(estimator)), own_estimators=own_estimators)
    step, number = alone, 1
    at_once = states_at_once(run.num_bits)
    if at_once > 1:
        elbo = bound(
            copy.deepcopy(estimator),
            num_particles=at_once,
            vectorize_particles=True,
            max_plate_nesting=run.plate_nesting,
        )
        together = run.step(elbo, own_estimators=own_estimators, is_apart=True)
        if runs_side_by_side(alone, together, run.num_bits):
            step, number = together, at_once
    with _bar(2**run.num_bits, f"{label}, all states", progress) as bar:
        return enumerated_moments(step, run.num_bits, number, bar.update)


def _sample(
    step: Step, repeats: int, label: str, run: Run, progress: bool | None
) -> tuple[Moments, float]:
    """The moments of that many steps, and the median time of one."""
    gathered, seconds = Accumulator(repeats), []
    with _bar(repeats, label, progress) as bar:
        for number in range(-WARM_UP, repeats):
            started = time.perf_counter()
            gradient = step()
            for device in run.devices():
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - started)
            if number >= 0:
                gathered.add(gradient)
                bar.update()
    return gathered.moments(), statistics.median(seconds[WARM_UP:])


def _bar(total: int, label: str, progress: bool | None) -> Any:
    # disable=None silences tqdm where standard error is not a terminal
    disable = None if progress is None else not progress
    return tqdm(total=total, desc=f"audit: {label}", leave=False, disable=disable)
