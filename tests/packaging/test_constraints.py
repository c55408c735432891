"""constraints.txt pins what pyproject.toml asks for, to versions that it allows."""

import tomllib
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.packaging.building import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINES = (ROOT / "constraints.txt").read_text().splitlines()
PINS = {
    canonicalize_name(requirement.name): requirement
    for requirement in (Requirement(line) for line in LINES if line and line[0] != "#")
}
REQUIREMENTS = [
    Requirement(line)
    for lines in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for line in lines
]


def pinned(name: str) -> Version:
    (specifier,) = PINS[canonicalize_name(name)].specifier
    assert specifier.operator == "=="
    return Version(specifier.version)


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_requirement_is_pinned_to_a_version_that_it_allows(requirement):
    if canonicalize_name(requirement.name) == "bayes-sbn":
        assert requirement.extras <= set(PROJECT["optional-dependencies"])
    elif requirement.name.startswith("nvidia-"):
        assert requirement.name not in PINS  # a CUDA build of torch pins it itself
    else:
        assert requirement.specifier.contains(pinned(requirement.name))


def test_every_pin_is_exact():
    assert len(PINS) > 50
    for name in PINS:
        pinned(name)


@pytest.mark.parametrize("extra", ["", "test"])
def test_what_the_requirements_require_is_pinned_too(extra):
    """Walks the installed packages' own requirements: nothing may float, or builds would differ."""
    start = PROJECT["dependencies"] if not extra else PROJECT["optional-dependencies"][extra]
    waiting = [Requirement(line) for line in start]
    seen = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        key = (name, frozenset(requirement.extras))
        if key in seen or name == "bayes-sbn":
            continue
        seen.add(key)
        try:
            inner = [Requirement(line) for line in metadata.requires(name) or []]
        except metadata.PackageNotFoundError:
            continue  # an extra that is not installed here
        assert name in PINS, f"{name} is not pinned"
        if name == "torch":
            continue  # builds for CUDA bring libraries of their own
        extras = requirement.extras or {""}
        waiting += [
            r
            for r in inner
            if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in extras)
        ]
    assert len(seen) > 10
