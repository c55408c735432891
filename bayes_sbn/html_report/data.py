"""What data there are: rows, features, classes, and what rounding to the networks' grid costs."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from bayes_sbn.html_report.markup import Content, element, facts, name_of, table
from bayes_sbn.html_report.material import Float64, Material
from bayes_sbn.html_report.page import Section
from bayes_sbn.html_report.words import counted, percent, short

FEATURES = 30
"""Features whose ranges are listed, at most."""


def data(material: Material) -> Section:
    """Rows, inputs and targets of the test data, and of the training data if they are known."""
    parts = {"test": (material.shown_x, material.y)}
    if material.train is not None:
        x, y = material.train
        parts = {"training": (material.shown(x), y), **parts}
    pairs: list[tuple[Content, Content]] = [
        (f"{name} data", f"{counted(len(x), 'row')} of {counted(x.shape[1], 'input')}")
        for name, (x, _) in parts.items()
    ]
    if material.ood is not None:
        pairs.append(("from elsewhere", counted(len(material.ood), "row")))
    if material.image_shape is not None:
        pairs.append(("an input", " × ".join(map(str, material.image_shape)) + " image"))
    numbers: dict[str, Any] = {name: _numbers(x) for name, (x, _) in parts.items()}
    error = material.posterior.input_error(material.x)
    limit = material.posterior.input_limit
    pairs.append(
        (
            "grid of the inputs",
            f"steps of {short(material.posterior.input_scale)} within ±{short(limit)}; rounding "
            f"moves a value by {'nothing' if error == 0 else 'at most ' + short(error)}",
        )
    )
    numbers["input_error"] = error
    repeated = _repeated(material)
    if repeated is not None:
        pairs.append(("test rows among the training rows", f"{repeated:,}"))
        numbers["test_rows_in_training"] = repeated
    content: list[Content] = [facts(pairs)]
    if material.is_classes:
        content.append(_class_table(material))
    else:
        content.append(_target_table(parts))
    if material.image_shape is None and material.x.shape[1] <= FEATURES:
        content.append(_feature_table(material))
    elif material.image_shape is None:
        text = f"Ranges of single inputs are listed up to {FEATURES} of them."
        content.append(element("p", text, class_="note"))
    return Section("data", "Data", content, numbers)


def _numbers(x: Float64) -> dict[str, Any]:
    return {
        "rows": len(x),
        "inputs": x.shape[1],
        "minimum": float(x.min()),
        "maximum": float(x.max()),
        "mean": float(x.mean()),
    }


def _repeated(material: Material) -> int | None:
    """How many test rows are, value by value, training rows as well."""
    if material.train is None:
        return None
    seen = set(map(_digest, material.train[0]))
    return sum(_digest(row) in seen for row in material.x)


def _digest(row: Float64) -> bytes:
    values = row.astype(np.float64) + 0.0  # -0.0 is 0.0
    return hashlib.blake2b(values.tobytes(), digest_size=16).digest()


def _class_table(material: Material) -> Content:
    size = len(material.class_names)
    parts = [("test", material.y)]
    if material.train is not None:
        parts.insert(0, ("training", material.train[1]))
    head: list[str] = ["class"]
    columns = []
    for name, y in parts:
        head += [f"{name} rows", "share"]
        columns.append((np.bincount(y, minlength=size), len(y)))
    rows = [
        [
            name_of(material.class_names[c]),
            *(text for n, all_ in columns for text in (f"{n[c]:,}", percent(n[c] / all_))),
        ]
        for c in range(size)
    ]
    return table(head, rows, caption="Rows of each class")


def _target_table(parts: dict[str, tuple[Float64, Any]]) -> Content:
    rows = [
        (name, *(short(float(f(y))) for f in (np.min, np.median, np.mean, np.max, np.std)))
        for name, (_, y) in parts.items()
    ]
    head = ("target", "minimum", "median", "mean", "maximum", "standard deviation")
    return table(head, rows, caption="The target")


def _feature_table(material: Material) -> Content:
    known = None if material.train is None else material.shown(material.train[0])
    head = ["input", "minimum", "mean", "maximum", "standard deviation"]
    if known is not None:
        head.append("test rows beyond training")
    rows = []
    for j, name in enumerate(material.feature_names):
        column = material.shown_x[:, j]
        row: list[Content] = [name_of(name)]
        row += [short(float(f(column))) for f in (np.min, np.mean, np.max, np.std)]
        if known is not None:
            low, high = known[:, j].min(), known[:, j].max()
            row.append(f"{int(((column < low) | (column > high)).sum()):,}")
        rows.append(row)
    return table(head, rows, caption="Inputs of the test rows")
