"""The layers of the package: who may import whom, read from the source with ``ast``.

:data:`LAYERS` is the one statement of the layers.  A module imports modules of lower levels; on its
own level only what :data:`SAME_LEVEL` lists.  A new module is added to the table, or this fails.
The table and the checks of it are read together, hence one file of more than the usual length.
"""

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.import_graph import Import, cycles, dotted, imports, loaded_with, member

PACKAGE = "bayes_sbn"

LAYERS: list[tuple[str, tuple[str, ...], str]] = [
    (
        "L0",
        ("noise", "philox", "bits", "signs", "dual", "whole_file", "json_numbers", "container"),
        "the laws of the noise, counter-based random words, packed bits, what a ±1 value is, "
        "files written whole, and the file of numbers",
    ),
    (
        "L1",
        ("kernels", "metrics"),
        "packed kernels with their reference; metrics, in NumPy alone",
    ),
    (
        "L2",
        ("affines", "distributions"),
        "lazy pre-activations that know their flips, and the Pyro distributions that hold them",
    ),
    (
        "L3",
        ("estimators", "optim", "models", "guides"),
        "gradient estimators, optimisers, networks and guides, none of which imports another",
    ),
    (
        "L4",
        ("messenger", "temperature", "elbo", "training"),
        "the effect handlers, the ELBO that enters them, and training; models and guides come as "
        "arguments",
    ),
    (
        "L5",
        ("uncertainty", "predictions", "recalibration", "conformal", "ensemble", "posterior"),
        "plain numbers: the posterior, its packed ensembles, their predictions, recalibrated",
    ),
    (
        "L6",
        (
            "plots",
            "gradient_audit",
            "network_summary",
            "analysis",
            "html_report",
            "predictive",
            "sklearn",
            "demo",
            "cli",
        ),
        "what is built on top: plots, ArviZ, reports, Pyro and scikit-learn faces, commands",
    ),
]
"""(level, modules, what they are), lowest first.

A name stands for a file or folder, and for the files it was split into: ``posterior`` for
``posterior_layer.py`` too.
"""

SAME_LEVEL: tuple[tuple[str, ...], ...] = (
    ("noise", "dual"),
    ("bits", "signs"),
    ("whole_file", "container"),
    ("affines", "distributions"),
    ("messenger", "temperature", "elbo", "training"),
    ("uncertainty", "predictions", "recalibration", "conformal", "ensemble", "posterior"),
    (
        "plots",
        "gradient_audit",
        "network_summary",
        "analysis",
        "html_report",
        "predictive",
        "sklearn",
        "demo",
        "cli",
    ),
)
"""Chains inside a level: a module may import those to its left."""

ARGUMENTS_ONLY = {
    importer: ("models", "guides") for importer in ("messenger", "temperature", "elbo", "training")
}
"""Lower modules that are not imported all the same: they come as arguments."""

MAY_IMPORT_PYRO = (
    "distributions",
    "models",
    "guides",
    "optim",
    "messenger",
    "elbo",
    "training",
    "gradient_audit",
    "predictive",
    "demo",
)
"""The only modules that import Pyro directly; ``optim`` for its subclasses of PyroOptim, ``demo``
because it fits by Pyro's own SVI."""

NEVER_TORCH = ("predictions", "uncertainty", "metrics", "recalibration", "conformal")
"""Neither torch nor Pyro anywhere inside, nor through what they import."""

NO_TORCH_AT_IMPORT = (*NEVER_TORCH, "analysis", "plots")
"""Importing them loads neither torch nor Pyro."""

SLOW_TO_IMPORT = ("arviz", "matplotlib", "sklearn")
"""Imported inside functions only, but for the modules that are about them."""

ABOUT_SLOW = ("analysis", "plots", "html_report", "sklearn")

FORBIDDEN_NAMES = ("utils", "misc", "common", "helpers")
"""Names that say nothing: a helper lives beside its only user or gets a noun's name."""

IMPORT_NAMES = {"pyro-ppl": "pyro", "scikit-learn": "sklearn"}
"""Distributions whose import has another name."""

DEFINED_BY_THE_PACKAGE = ("__version__",)
"""What the package's own file defines; all else is imported from where it is defined."""

DEVELOPMENT_EXTRAS = ("test", "test-cuda", "docs")
"""Extras for working on the package, which it may not import."""

LEVELS = {name: number for number, (_, names, _) in enumerate(LAYERS) for name in names}


def listed(module: str) -> str:
    """The entry of the table that a module belongs to, or its own first name if there is none."""
    name = member(module)
    owners = [entry for entry in LEVELS if name == entry or name.startswith(f"{entry}_")]
    return max(owners, key=len, default=name)


def pair_violation(importer: str, imported: str) -> str | None:
    """Why a member of the table may not import another one, or None."""
    if importer == imported:
        return None
    if imported in ARGUMENTS_ONLY.get(importer, ()):
        return f"{importer} gets {imported} as arguments and does not import them"
    if LEVELS[imported] < LEVELS[importer]:
        return None
    if LEVELS[imported] > LEVELS[importer]:
        return f"{importer} ({LAYERS[LEVELS[importer]][0]}) lies below {imported}"
    for chain in SAME_LEVEL:
        if {importer, imported} <= set(chain) and chain.index(imported) < chain.index(importer):
            return None
    return f"{importer} and {imported} are siblings"


def violations(sources: Mapping[str, str], dependencies: set[str]) -> list[str]:
    """Every breach of the rules in the given files, ``path: line: what``."""
    modules = {dotted(path) for path in sources}
    graph = {
        dotted(path): list(imports(ast.parse(text), modules)) for path, text in sources.items()
    }
    found = []
    for path, text in sources.items():
        importer = listed(dotted(path))

        def report(line: int, what: str, path: str = path) -> None:
            found.append(f"{path}:{line}: {what}")

        if Path(path).stem in FORBIDDEN_NAMES or importer in FORBIDDEN_NAMES:
            report(1, "the name says nothing; name the file after what it holds")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.level > 0:
                report(node.lineno, "imports are absolute")
        if importer and importer not in LEVELS:
            report(1, f"{importer} is in no layer: add it to LAYERS in tests/test_imports.py")
            continue
        for entry in graph[dotted(path)]:
            for what in entry_violations(importer, entry, dependencies):
                report(entry.line, what)
        if importer in NO_TORCH_AT_IMPORT:
            loaded = loaded_with(dotted(path), graph)
            for target, asker in loaded.items():
                if target.split(".")[0] in ("torch", "pyro") and asker != dotted(path):
                    report(1, f"importing it loads {target}, through {asker}")
        for entry in cycles(dotted(path), graph):
            report(entry.line, f"{entry.target} imports {dotted(path)} in turn, at module level")
    return sorted(set(found))


def entry_violations(importer: str, entry: Import, dependencies: set[str]) -> Iterator[str]:
    """What is wrong with one import of one module."""
    root, target = entry.target.split(".")[0], listed(entry.target)
    if root == PACKAGE and importer == "":
        if entry.when == "import":
            yield f"{PACKAGE}/__init__.py imports {entry.target} eagerly"
    elif root == PACKAGE and target == "":
        if entry.name not in DEFINED_BY_THE_PACKAGE:
            yield f"import from the module that defines the name, not from {PACKAGE}"
    elif root == PACKAGE and target not in LEVELS:
        yield f"{target} is in no layer: add it to LAYERS in tests/test_imports.py"
    elif root == PACKAGE:
        breach = pair_violation(importer, target)
        if breach:
            yield breach
    elif root not in sys.stdlib_module_names:
        if root not in dependencies:
            yield f"{root} is not among the dependencies in pyproject.toml"
        if entry.when == "typing":
            return
        if importer == "":
            if entry.when == "import":
                yield f"{PACKAGE}/__init__.py imports {root} eagerly"
            return
        if root == "pyro" and importer not in MAY_IMPORT_PYRO:
            yield f"{importer} may not import pyro"
        is_banned = importer in NEVER_TORCH or (
            importer in NO_TORCH_AT_IMPORT and entry.when == "import"
        )
        if root in ("torch", "pyro") and is_banned:
            yield f"{importer} may not import {root} here"
        if root in SLOW_TO_IMPORT and entry.when == "import" and importer not in ABOUT_SLOW:
            yield f"{root} is slow to import: import it inside the function that needs it"


def package_sources() -> dict[str, str]:
    root = Path(__file__).parents[1]
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((root / PACKAGE).rglob("*.py"))
    }


def declared_dependencies() -> set[str]:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    listed = [*project["project"]["dependencies"]]
    for extra, requirements in project["project"].get("optional-dependencies", {}).items():
        listed += requirements if extra not in DEVELOPMENT_EXTRAS else []
    names = {requirement.split(";")[0].split("[")[0] for requirement in listed}
    bare = {name.split(">")[0].split("=")[0].split("<")[0].split("~")[0].strip() for name in names}
    return {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in bare}


def test_package_imports_run_one_way():
    sources = package_sources()
    assert sources, "no file of the package was found"
    found = violations(sources, declared_dependencies())
    assert not found, "\n" + "\n".join(found)


def test_layers_name_each_module_once():
    names = [name for _, members, _ in LAYERS for name in members]
    assert len(names) == len(set(names))
    listed = {name for chain in SAME_LEVEL for name in chain}
    rules = (*MAY_IMPORT_PYRO, *NO_TORCH_AT_IMPORT, *ABOUT_SLOW, *ARGUMENTS_ONLY)
    assert listed | set(rules) <= set(names)
    for chain in SAME_LEVEL:
        assert len({LEVELS[name] for name in chain}) == 1


FORBIDDEN = {
    "upward": ("noise", "from bayes_sbn.elbo import TraceEstimator_ELBO", "lies below elbo"),
    "upward_lazily": ("noise", "def f():\n    import bayes_sbn.elbo", "lies below elbo"),
    "upward_by_name": (
        "noise",
        "import importlib\ndef f():\n    importlib.import_module('bayes_sbn.elbo')",
        "lies below elbo",
    ),
    "upward_for_types": (
        "noise",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bayes_sbn.elbo import E",
        "lies below elbo",
    ),
    "siblings": ("models/mlp", "from bayes_sbn.guides import AutoSignBernoulli", "siblings"),
    "chain_backwards": ("affines/dense", "from bayes_sbn.distributions import D", "siblings"),
    "arguments": ("elbo", "from bayes_sbn.models import BinaryMLP", "as arguments"),
    "pyro": ("estimators/arm", "import pyro.distributions as dist", "may not import pyro"),
    "pyro_in_posterior": ("posterior", "def f():\n    import pyro", "may not import pyro"),
    "torch_in_predictions": ("predictions", "def f():\n    import torch", "may not import torch"),
    "torch_in_part": ("predictions_file", "import torch", "may not import torch"),
    "sibling_of_part": ("ensemble", "import bayes_sbn.posterior_layer", "siblings"),
    "torch_in_metrics": ("metrics/scores", "from torch import Tensor", "may not import torch"),
    "torch_in_analysis": ("analysis/arviz", "import torch", "may not import torch"),
    "torch_through_noise": ("analysis/arviz", "import bayes_sbn.noise", "loads torch"),
    "relative": ("noise", "from .elbo import TraceEstimator_ELBO", "absolute"),
    "facade": ("elbo", "from bayes_sbn import fit", "module that defines the name"),
    "slow": ("training", "import matplotlib.pyplot", "slow to import"),
    "undeclared": ("noise", "import tensorflow", "dependencies"),
    "test_only": ("noise", "import pytest", "dependencies"),
    "unknown": ("heating", "x = 1", "add it to LAYERS"),
    "unknown_target": ("cli", "from bayes_sbn.heating import heat", "add it to LAYERS"),
    "name": ("metrics/utils", "x = 1", "name says nothing"),
    "eager": ("__init__", "from bayes_sbn.elbo import TraceEstimator_ELBO", "eagerly"),
    "eager_torch": ("__init__", "import torch", "imports torch eagerly"),
}
"""name -> (file, source, words of the complaint)."""


@pytest.mark.parametrize("case", FORBIDDEN)
def test_forbidden_import_is_flagged(case):
    path, source, words = FORBIDDEN[case]
    sources = {f"{PACKAGE}/{path}.py": source, f"{PACKAGE}/noise.py": "import torch"}
    if path == "noise":
        sources[f"{PACKAGE}/noise.py"] = source
    found = violations(sources, declared_dependencies())
    assert len(found) == 1
    assert words in found[0]
    assert found[0].startswith(f"{PACKAGE}/{path}.py:")


ALLOWED = {
    "downward": ("elbo", "from bayes_sbn.estimators import Estimator\nimport pyro"),
    "part": ("posterior", "import bayes_sbn.posterior_layer, bayes_sbn.ensemble"),
    "version": ("posterior", "from bayes_sbn import __version__\nimport torch"),
    "chain": ("distributions/noisy_sign", "from bayes_sbn.affines import Affine"),
    "kernels": ("kernels/reference", "from bayes_sbn.philox import philox4x32\nimport torch"),
    "own_package": ("metrics/report", "from bayes_sbn.metrics.scores import nll\nimport numpy"),
    "lazy_facade": ("__init__", "def __getattr__(n):\n    import importlib\n    import torch.nn"),
    "typed_facade": (
        "__init__",
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from bayes_sbn.elbo import TraceEstimator_ELBO as T",
    ),
    "typed_torch": (
        "predictions",
        "import typing\nif typing.TYPE_CHECKING:\n    from torch import Tensor",
    ),
    "lazy_torch_in_analysis": ("analysis/arviz", "def f():\n    import torch"),
    "lazy_scikit_learn": ("metrics/scores", "def f():\n    from sklearn import metrics"),
    "scikit_learn_in_its_own": ("sklearn", "from sklearn.base import BaseEstimator"),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_allowed_import_is_not_flagged(case):
    path, source = ALLOWED[case]
    assert violations({f"{PACKAGE}/{path}.py": source}, declared_dependencies()) == []


def test_cycle_at_module_level_is_flagged():
    back = f"{PACKAGE}/metrics/scores.py"
    sources = {f"{PACKAGE}/metrics/report.py": "import bayes_sbn.metrics.scores"}
    lazily = sources | {back: "def f():\n    import bayes_sbn.metrics.report"}
    assert violations(lazily, declared_dependencies()) == []
    found = violations(sources | {back: "import bayes_sbn.metrics.report"}, set())
    assert len(found) == 2
    assert all("in turn" in line for line in found)


def test_torch_through_a_package_initialiser_is_flagged():
    sources = {
        f"{PACKAGE}/analysis/__init__.py": "from bayes_sbn.analysis.draws import draws",
        f"{PACKAGE}/analysis/draws.py": "import torch",
        f"{PACKAGE}/analysis/arviz.py": "import numpy",
    }
    found = violations(sources, declared_dependencies())
    assert any(line.startswith(f"{PACKAGE}/analysis/arviz.py") for line in found)
