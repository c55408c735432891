"""The call that made a report, as a user would write it, with arrays by their shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from bayes_sbn.html_report.material import Material


def call_of(material: Material, target: Path, title: str | None) -> str:
    """The call as a user would write it; arrays by their shapes."""
    parts = [
        "posterior",
        f"x=<{_shape(material.x)}>",
        f"y=<{_shape(material.y)}>",
        repr(str(target)),
        f"draws={material.draws}",
        f"seed={material.seed}",
    ]
    course = material.course
    if course is not None:
        parts.append(f"fit={course.folder!r}" if course.folder is not None else "fit=fit")
    if material.train is not None:
        parts.append(f"train=(<{_shape(material.train[0])}>, <{_shape(material.train[1])}>)")
    if material.ood is not None:
        parts.append(f"ood=<{_shape(material.ood)}>")
    for name, given, number in (
        ("class_names", material.has_class_names, len(material.class_names)),
        ("feature_names", material.has_feature_names, len(material.feature_names)),
        ("row_names", material.has_row_names, len(material.row_names)),
    ):
        if given:
            parts.append(f"{name}=<{number} names>")
    for name, value in (
        ("image_shape", material.image_shape),
        ("rescale", material.rescale),
        ("recalibration", material.recalibration),
        ("title", title),
    ):
        if value is not None:
            parts.append(f"{name}={value!r}")
    parts += [f"bootstrap={material.bootstrap}", f"level={material.level:g}"]
    return f"sbn.report({', '.join(parts)})"


def _shape(array: npt.NDArray[np.generic]) -> str:
    return " × ".join(map(str, array.shape)) + f" {array.dtype}"
