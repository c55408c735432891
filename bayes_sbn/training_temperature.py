r"""The choice of the temperature by held-out rows.

The rule ``T* = N h / (K ln 2)`` (:mod:`bayes_sbn.temperature`) says what the data can pay for; how
much of it serves prediction best, data tell.  Candidates ``min(1, f T*)`` for a few factors f are
fitted alike, from the same start and with the same random numbers, and the one with the smallest
validation NLL is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from bayes_sbn.temperature import rule_temperature
from bayes_sbn.training import fit
from bayes_sbn.training_data import Batch, as_batches
from bayes_sbn.training_result import Fit
from bayes_sbn.training_validation import traces, undisturbed

FACTORS = (1.0, 1 / 3, 1 / 10, 1 / 30, 1 / 100)
"""Of the rule; ``temperature="auto"`` is the third."""

_NOT_FOR_A_CANDIDATE = ("validation", "temperature", "elbo", "checkpoint", "generator", "optim")


@dataclass(frozen=True)
class TemperatureCandidate:
    """One temperature, fitted; scores are nats a held-out row.

    Args:
        factor: of the rule.
        temperature: what a nat of KL cost.
        validation_nll: of the ensemble.
        validation_draw_nll: of a single draw, on average.
        kl_bits_per_weight: divergence of the ±1 weights from their prior.
        epoch: whose parameters were scored.
        seconds: how long the fit took.
    """

    factor: float
    temperature: float
    validation_nll: float
    validation_draw_nll: float
    kl_bits_per_weight: float | None
    epoch: int
    seconds: float


@dataclass(frozen=True)
class TemperatureChoice:
    """What :func:`choose_temperature` found; prints as a table.

    Args:
        rule: ``T* = N h / (K ln 2)``.
        candidates: in the order in which they were fitted.
        model: of the best candidate, fitted.
        guide: of the best candidate, fitted.
        fit: its history.
    """

    rule: float
    candidates: tuple[TemperatureCandidate, ...]
    model: Any
    guide: Any
    fit: Fit

    @property
    def best(self) -> TemperatureCandidate:
        """The candidate with the smallest validation NLL, the first of equals."""
        return min(self.candidates, key=lambda candidate: candidate.validation_nll)

    @property
    def temperature(self) -> float:
        """That of the best candidate."""
        return self.best.temperature

    def to_dict(self) -> dict[str, Any]:
        """Everything but the objects, as plain values."""
        return {
            "rule": self.rule,
            "temperature": self.temperature,
            "candidates": [asdict(candidate) for candidate in self.candidates],
        }

    def __str__(self) -> str:
        lines = [
            f"temperature {self.temperature:.3g}, chosen by validation NLL (rule: {self.rule:.3g})",
            f"{'factor':>8}{'temperature':>13}{'NLL':>9}{'of a draw':>11}{'KL bits/weight':>16}"
            f"{'epoch':>7}{'seconds':>9}",
        ]
        for c in self.candidates:
            bits = "" if c.kl_bits_per_weight is None else f"{c.kl_bits_per_weight:.3f}"
            mark = "  *" if c is self.best else ""
            lines.append(
                f"{c.factor:>8.3g}{c.temperature:>13.3g}{c.validation_nll:>9.4f}"
                f"{c.validation_draw_nll:>11.4f}{bits:>16}{c.epoch:>7}{c.seconds:>9.1f}{mark}"
            )
        return "\n".join(lines)


def temperature_rule(model: Callable[..., Any], guide: Callable[..., Any], *batch: Any) -> float:
    """``T* = N h / (K ln 2)``, what the data can pay for a nat of what the prior asks.

    N h is h nats for each of N rows (log of the number of classes, log 2 a binary label, 1
    otherwise), K ln 2 the largest divergence of K ±1 weights from fair coins.
    ``temperature="auto"`` is ``min(1, T* / 10)``.

    Args:
        model: a Pyro model.
        guide: its guide.
        batch: the arguments of one call, such as a few rows ``x, y``.

    Example:
        >>> import torch, bayes_sbn as sbn
        >>> model = sbn.models.BinaryMLP(64, [256, 256], 10, num_data=1437)
        >>> guide = sbn.guides.AutoSignBernoulli(model)
        >>> rule = sbn.temperature_rule(model, guide, torch.zeros(1, 64), torch.zeros(1).long())
        >>> round(rule, 4)
        0.0565
    """
    with undisturbed(model, guide):
        return rule_temperature(*traces(model, guide, batch))


def choose_temperature(
    make: Callable[[], tuple[Callable[..., Any], Callable[..., Any]]],
    data: Any,
    validation: Any,
    *,
    factors: Sequence[float] = FACTORS,
    make_optim: Callable[[], Any] | None = None,
    generator: torch.Generator | None = None,
    checkpoint: Any = None,
    **options: Any,
) -> TemperatureChoice:
    """Fit the same network at several temperatures, and keep the best by held-out rows.

    The validation rows have then been used: judge the result by others.

    Args:
        make: returns a new model and its guide.
        data: as of :func:`bayes_sbn.fit`.
        validation: held-out rows.
        factors: multiples of the rule ``T*`` to be tried; temperatures above 1 become 1.
        make_optim: returns a new optimiser; default that of :func:`bayes_sbn.fit`.
        generator: of the order of rows; each candidate sees the same order.
        checkpoint: a folder, in which each candidate has one of its own; the same call goes on from
            what is there.
        options: of :func:`bayes_sbn.fit`, for all candidates.

    Returns:
        A table of candidates, and the fitted model and guide of the best.

    Example:
        >>> import torch, bayes_sbn as sbn
        >>> x = torch.randn(60, 4)
        >>> y = (x[:, 0] > 0).long()
        >>> def make():
        ...     model = sbn.models.BinaryMLP(4, [8], 2, num_data=40)
        ...     return model, sbn.guides.AutoSignBernoulli(model)
        >>> found = sbn.choose_temperature(
        ...     make, (x[:40], y[:40]), (x[40:], y[40:]), factors=(1, 0.1), epochs=2
        ... )
        >>> len(found.candidates)
        2
    """
    chosen = _checked_factors(factors)
    _check_options(options)
    torch_state, order_state = _random_state(), None if generator is None else generator.get_state()
    best: tuple[Any, Any, Fit] | None = None
    candidates: list[TemperatureCandidate] = []
    rule = None
    for factor in chosen:
        _put_back(torch_state)
        if generator is not None and order_state is not None:
            generator.set_state(order_state)
        model, guide = make()
        if rule is None:
            rule = temperature_rule(model, guide, *_first(data, options))
        temperature = min(1.0, factor * rule)
        if any(candidate.temperature == temperature for candidate in candidates):
            continue
        started = time.perf_counter()
        result = fit(
            model,
            guide,
            data,
            validation=validation,
            temperature=temperature,
            optim=None if make_optim is None else make_optim(),
            generator=generator,
            checkpoint=(
                None if checkpoint is None else Path(checkpoint) / f"temperature-{temperature:.6g}"
            ),
            **options,
        )
        candidate = _candidate(factor, result, time.perf_counter() - started)
        if best is None or candidate.validation_nll < min(c.validation_nll for c in candidates):
            best = model, guide, result
        candidates.append(candidate)
    assert best is not None
    assert rule is not None
    return TemperatureChoice(rule, tuple(candidates), *best)


def _candidate(factor: float, result: Fit, seconds: float) -> TemperatureCandidate:
    record = result.history[result.epoch - 1]
    assert record.validation_nll is not None
    assert record.validation_draw_nll is not None
    return TemperatureCandidate(
        factor,
        float(result.elbo.temperature),
        record.validation_nll,
        record.validation_draw_nll,
        record.kl_bits_per_weight,
        result.epoch,
        seconds,
    )


def _checked_factors(factors: Sequence[float]) -> list[float]:
    chosen = [float(factor) for factor in factors]
    if not chosen or not all(0 < factor < float("inf") for factor in chosen):
        raise ValueError(
            f"choose_temperature(factors={list(factors)}): they are positive multiples of the "
            "rule, at least one. Write factors=(1, 1/3, 1/10, 1/30, 1/100)."
        )
    return chosen


def _check_options(options: Mapping[str, Any]) -> None:
    for name in _NOT_FOR_A_CANDIDATE:
        if name in options:
            raise TypeError(
                f"choose_temperature({name}=...): it is not an option of the fits. Temperatures "
                "come of factors=, the rows of validation, and optimisers of make_optim=lambda: "
                'sbn.optim.MirrorDescent({"lr": 0.05}), since each fit needs one of its own.'
            )


def _first(data: Any, options: Mapping[str, Any]) -> Batch:
    size = options.get("batch_size", 128)
    call = "choose_temperature(make, data, ...): data"
    return as_batches(data, size, generator=None, device=None, call=call).first()


def _random_state() -> tuple[torch.Tensor, list[torch.Tensor]]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return torch.get_rng_state(), cuda


def _put_back(state: tuple[torch.Tensor, list[torch.Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])
