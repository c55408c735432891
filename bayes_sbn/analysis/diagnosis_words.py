"""A diagnosis in plain words: the sentences of its flags, and the text that ``print`` shows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bayes_sbn.analysis.predictive_checks import draws_to_flag

if TYPE_CHECKING:
    from bayes_sbn.analysis.diagnosis import Diagnosis
    from bayes_sbn.analysis.importance_checks import ImportanceCheck
    from bayes_sbn.analysis.weight_certainty import LayerCertainty

_TARGETS = {"bayes": "p(w) p(y|w)", "trained": "p(w) exp(E log p(y|z,w) / T)"}

_LOUD_ACTIVATIONS = 1.0
"""Nats of a log ratio beyond which the noise of the activations is worth a word."""


def flags_of(diagnosis: Diagnosis) -> tuple[str, ...]:
    """A sentence for each thing that should not be relied upon."""
    many = diagnosis.num_chains > 1
    found = [
        f"The posterior{_of(check.chain, many)} is not the target {check.target!r}: {check.reason}."
        for check in diagnosis.importance
        if not check.reliable
    ]
    for loo in diagnosis.loo:
        heavy = loo.num_heavy
        if heavy:
            found.append(f"Leave-one-out{_of(loo.chain, many)} is not estimable: {loo.reason}.")
    for check in diagnosis.predictive:
        if check.flagged:
            found.append(f"{_misfit(check.statistic, check.side)} (p = {check.p:.2g}).")
    restarts = diagnosis.restarts
    if restarts is not None and not restarts.agree:
        found.append(
            f"Restarts found different functions: R-hat of {restarts.largest} is "
            f"{restarts.rhat[restarts.largest]:.3g}, above {restarts.limit:.3g}."
        )
    return tuple(found)


def words_of(diagnosis: Diagnosis) -> str:
    """The whole as text."""
    counts = [_counted(diagnosis.num_draws, "draw")]
    if diagnosis.num_chains > 1:
        counts[0] += f" in each of {diagnosis.num_chains} chains"
    lines = [f"{counts[0]}, {_counted(diagnosis.num_rows, 'row')}", ""]
    lines += _importance(diagnosis) + _scores(diagnosis)
    lines += _predictive(diagnosis) + _restarts(diagnosis) + _layers(diagnosis)
    flags = diagnosis.flags
    lines += [f"Flagged ({len(flags)}):" if flags else "Flagged: nothing."]
    lines += [f"  {flag}" for flag in flags]
    return "\n".join(lines)


def _importance(diagnosis: Diagnosis) -> list[str]:
    lines = ["Is the posterior the one that model and data ask for? Importance ratios p/q:"]
    if not diagnosis.importance:
        return [*lines, "  log q(w) is not known, so there are none.", ""]
    many = diagnosis.num_chains > 1
    for check in diagnosis.importance:
        lines += _ratio_lines(check, many)
    if any(not check.reliable for check in diagnosis.importance):
        lines.append(
            "  Averages over such a target cannot be had from these draws. The posterior may "
            "predict well all the same: held-out rows tell."
        )
    return [*lines, ""]


def _ratio_lines(check: ImportanceCheck, many: bool) -> list[str]:
    verdict = "reliable" if check.reliable else "not reliable"
    khat = "k-hat none" if math.isnan(check.khat) else f"k-hat {check.khat:.2f}"
    lines = [
        f"  {check.target}{_of(check.chain, many)}, {_TARGETS[check.target]}: {verdict}, "
        f"{check.reason}",
        f"    {khat} (limit {check.limit:.2f}), {check.ess:.1f} effective of "
        f"{_counted(check.num_draws, 'draw')}, log ratios {check.bound:.2f} ± {check.spread:.2f}"
        + ("" if math.isnan(check.missed) else f", missed mass {check.missed:.3f}"),
    ]
    if check.activation_error > _LOUD_ACTIVATIONS:
        lines.append(
            f"    of which ± {check.activation_error:.2f} is noise of the activations: export with "
            "a larger num_activations to lower it"
        )
    if not math.isnan(check.log_evidence):
        lines.append(f"    log of the target's integral: {check.log_evidence:.2f}")
    return lines


def _scores(diagnosis: Diagnosis) -> list[str]:
    many = diagnosis.num_chains > 1
    lines = ["Expected log predictive density of new rows, nats:"]
    for loo in diagnosis.loo:
        name = f"  leave-one-out{_of(loo.chain, many)}"
        if loo.elpd is None:
            lines.append(f"{name}: not estimable, {loo.reason}")
        else:
            lines.append(f"{name}: {_score(loo.elpd, loo.standard_error, loo.num_rows)}")
    held = diagnosis.held_out
    if held is None:
        lines.append("  held out: no rows; export with x_test and y_test")
    else:
        lines.append(f"  held out: {_score(held.elpd, held.standard_error, held.num_rows)}")
    return [*lines, ""]


def _score(elpd: float, error: float | None, num_rows: int) -> str:
    spread = "" if error is None or math.isnan(error) else f" ± {error:.1f}"
    return f"{elpd:.1f}{spread} on {_counted(num_rows, 'row')}, {elpd / num_rows:.4f} a row"


def _predictive(diagnosis: Diagnosis) -> list[str]:
    lines = ["Do data drawn from the model look like the data? p-values, small ones count:"]
    shown = diagnosis.predictive
    number = sum(check.statistic != "log_lik" for check in shown)
    draws, needed = diagnosis.num_chains * diagnosis.num_draws, draws_to_flag(number)
    if draws < needed:
        lines.append(
            f"  {_counted(draws, 'draw')} cannot flag one of {_counted(number, 'statistic')}: "
            f"export {needed:,} at least"
        )
    if len(shown) > 12:
        ordered = sorted(shown[:-1], key=lambda check: check.p)
        shown = (*ordered[:8], shown[-1])
        lines.append(f"  the smallest 8 of {len(ordered)} statistics, and log_lik")
    width = max(len(check.statistic) for check in shown)
    for check in shown:
        lines.append(
            f"  {check.statistic:<{width}}  observed {check.observed:.4g}, replicated "
            f"{check.replicated:.4g}, p {check.p:.3f}{'  flagged' if check.flagged else ''}"
        )
    return [*lines, ""]


def _restarts(diagnosis: Diagnosis) -> list[str]:
    restarts = diagnosis.restarts
    if restarts is None:
        return []
    verdict = "agree" if restarts.agree else "differ"
    return [
        f"Do the {restarts.num_chains} restarts compute the same? They {verdict}: of "
        f"{len(restarts.rhat)} quantities that permuted units leave alone the largest R-hat is "
        f"{restarts.rhat[restarts.largest]:.3f} ({restarts.largest}), limit {restarts.limit:.3f}",
        "",
    ]


def _layers(diagnosis: Diagnosis) -> list[str]:
    header = ("layer", "weights", "bits", "certainty", "undecided", "flip rate", "gain")
    cells: list[tuple[str, ...]] = [header]
    for layer in diagnosis.layers:
        cells.append(_layer_cells(layer))
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["How decided are the weights? Means over each layer:"]
    for row in cells:
        first = f"  {row[0]:<{widths[0]}}"
        rest = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([first, *rest]).rstrip())
    lines.append(
        "  bits: entropy of a weight; certainty |2p - 1|; undecided: p in (0.05, 0.95); flip rate "
        "2p(1 - p); gain: bits learned"
    )
    return [*lines, ""]


def _layer_cells(layer: LayerCertainty) -> tuple[str, ...]:
    number = f"{layer.num_weights:,}"
    if layer.kind == "real":
        ratio = layer.contraction
        words = "points" if math.isnan(ratio) else f"real, spread {ratio:.3f} of the prior's"
        return layer.layer, number, words, "", "", "", ""
    values = (layer.bits, layer.certainty, layer.undecided, layer.flip_rate, layer.gain)
    return layer.layer, number, *("-" if math.isnan(v) else f"{v:.3f}" for v in values)


def _misfit(statistic: str, side: str) -> str:
    if statistic != "log_lik":
        return f"The {statistic} of the data lies {side} what the model draws"
    if side == "below":
        return "The model is more certain of its data than it should be: log_lik is below its own"
    return "The model is less certain of its data than it could be: log_lik is above its own"


def _of(chain: int, many: bool) -> str:
    return f" of chain {chain}" if many else ""


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
