"""An audit of gradient estimators as tables of text."""

from __future__ import annotations

import math

from bayes_sbn.gradient_audit_result import EXACT, Audit, BlockAudit, Estimate, number


def tables(audit: Audit) -> str:
    """All tables: totals, cosines, and standard deviations and biases block by block."""
    parts = [_headline(audit), _table(_totals(audit))]
    if audit.cosines:
        parts.append("cosine of the mean gradients\n" + _table(_cosine_rows(audit)))
    parts.append("std / |mean gradient| of one step, block by block\n" + _by_block(audit, "std"))
    if audit.reference is not None:
        parts.append(
            f"bias / |mean gradient| against {_truth(audit)}, with two standard errors either "
            "way\n" + _by_block(audit, "bias")
        )
    return "\n\n".join(parts)


def _truth(audit: Audit) -> str:
    return "the exact gradient" if audit.reference == EXACT else f'"{audit.reference}"'


def _headline(audit: Audit) -> str:
    entries = next(iter(audit)).total.entries
    bits = f"{audit.num_bits:_} latent bits, {entries:_} parameters".replace("_", " ")
    if not audit.why_sampled:
        return f"{bits}; bias against the exact gradient, over 2^{audit.num_bits} states"
    truth = "no bias, for want of an unbiased estimator in the list"
    if audit.reference is not None:
        truth = f"bias against {_truth(audit)}, which is unbiased"
    return f"{bits}; {audit.repeats} repeats, seed {audit.seed}; {truth}\n({audit.why_sampled})"


def _totals(audit: Audit) -> list[list[str]]:
    head = ["estimator", "|mean|", "variance", "std/|mean|", "bias", "numbers", "passes", "ms"]
    rows = [head]
    for found in audit:
        block = found.total
        is_truth = found.label == audit.reference
        particles = f", {found.particles} particles" if found.particles > 1 else ""
        rows.append(
            [
                found.label,
                number(block.norm),
                str(block.variance),
                number(block.relative_std),
                "reference" if is_truth else _interval(block),
                ("exact" if found.is_exact else f"{audit.repeats} repeats") + particles,
                str(found.passes),
                f"{1e3 * found.seconds:.3g}",
            ]
        )
    return rows


def _cosine_rows(audit: Audit) -> list[list[str]]:
    labels = list(dict.fromkeys(label for pair in audit.cosines for label in pair))
    rows = [["", *labels[:-1]]]
    for i, label in enumerate(labels[1:], 1):
        cells = [_cosine(audit.cosine(other, label)) for other in labels[:i]]
        rows.append([label, *cells, *[""] * (len(labels) - 1 - i)])
    return rows


def _by_block(audit: Audit, kind: str) -> str:
    compared = [f for f in audit if kind == "std" or f.label != audit.reference]
    rows = [["block", "entries", *(found.label for found in compared)]]
    for name, first in next(iter(audit)).blocks.items():
        cells = [
            number(found[name].relative_std)
            if kind == "std"
            else _interval(found[name], found[name].norm)
            for found in compared
        ]
        rows.append([name, str(first.entries), *cells])
    return _table(rows)


def _interval(block: BlockAudit, norm: float = 1.0) -> str:
    """The bias, in units of a norm: exact, with an interval, or only bounded from above."""
    if block.bias is None or block.squared_bias is None or block.bias_interval is None:
        return "-"
    if norm == 0:
        return "mean hidden by noise"
    value = number(block.bias / norm)
    if block.squared_bias.error == 0:
        return value
    low, high = (end / norm for end in block.bias_interval)
    return f"{value} [{number(low)}, {number(high)}]" if low > 0 else f"< {number(high)}"


def _cosine(cosine: Estimate) -> str:
    if math.isnan(cosine.value):
        return "hidden by noise"
    error = f" ± {cosine.error:.2g}" if cosine.error else ""
    return f"{cosine.value:.4f}{error}"


def _table(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        first = row[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([first, *rest]).rstrip())
    return "\n".join(lines)
