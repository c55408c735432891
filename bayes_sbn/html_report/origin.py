"""How the report came about: the call, the seeds, the versions, what took how long."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from bayes_sbn import __version__
from bayes_sbn.html_report.markup import Content, element, facts, table
from bayes_sbn.html_report.material import Material
from bayes_sbn.html_report.page import Section
from bayes_sbn.html_report.words import duration

PACKAGES = ("torch", "pyro-ppl", "numpy", "scipy", "scikit-learn", "matplotlib", "arviz")
"""Distributions whose versions are stated."""


def origin(
    material: Material,
    call: str,
    date: str,
    seconds: Mapping[str, float],
    notes: Mapping[str, object],
) -> Section:
    """The section at the end.

    Args:
        material: of the report.
        call: that made it.
        date: when.
        seconds: by part; left out if there are none.
        notes: what else is to be stated.
    """
    posterior = material.posterior
    attrs = dict(material.predicted.attrs)
    pairs: list[tuple[Content, Content]] = [
        ("date", date),
        ("seed", f"{material.seed}, of the draws, the resampling and the random orders in figures"),
        ("draws", f"{material.draws:,}"),
        ("noise of the activations", str(attrs.get("noise", "shared"))),
        ("posterior", element("code", posterior.digest)),
        ("made by version", posterior.package_version),
    ]
    if material.recalibration is not None:
        pairs.append(("recalibration", element("code", repr(material.recalibration))))
    if posterior.attrs:
        pairs += [(f"posterior: {key}", str(value)) for key, value in posterior.attrs.items()]
    pairs += [(str(key), str(value)) for key, value in notes.items()]
    versions = {"Python": platform.python_version(), "bayes_sbn": __version__}
    versions |= {name: metadata.version(name) for name in PACKAGES}
    content: list[Content] = [
        facts(pairs),
        element("h3", "The call"),
        element("pre", call, tabindex="0"),
        element("h3", "Versions"),
        table(("package", "version"), versions.items(), left=2),
    ]
    numbers: dict[str, Any] = {
        "date": date,
        "call": call,
        "seed": material.seed,
        "draws": material.draws,
        "posterior": posterior.digest,
        "versions": versions,
        "notes": {str(key): str(value) for key, value in notes.items()},
    }
    if seconds:
        content.append(element("h3", "Time"))
        content.append(table(("part", "time"), [(k, duration(s)) for k, s in seconds.items()]))
        numbers["seconds"] = dict(seconds)
    return Section("origin", "How this report was made", content, numbers)
