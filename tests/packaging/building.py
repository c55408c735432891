"""Building from a copy of the sources, so that no test writes into the working tree."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "CMakeLists.txt", "LICENSE", "README.md", ".gitignore", "bayes_sbn")


def has_compiler() -> bool:
    """Whether a C++ compiler and CMake are here."""
    return shutil.which(os.environ.get("CXX", "c++")) is not None and tool("cmake") is not None


def tool(name: str) -> str | None:
    """A program of this environment, or else of the machine."""
    here = Path(sys.executable).parent / name
    return str(here) if here.exists() else shutil.which(name)


def copy_of_sources(target: Path) -> Path:
    """The files that a build needs, without what earlier builds left in the tree."""
    target.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, target / name, ignore=shutil.ignore_patterns("__pycache__", "libbsbn.*")
            )
        else:
            shutil.copy(source, target / name)
    return target


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end; the caller looks at the status."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def build_wheel(
    sources: Path, *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Builds a wheel into ``sources / "dist"`` with the build tools of this environment."""
    return run(
        *(sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation"),
        *("--disable-pip-version-check", "-w", "dist", *options),
        cwd=sources,
        **environment,
    )


def unpack_wheel(wheel: Path, target: Path) -> Path:
    """Lays the wheel's files out, which is all that installing a package without scripts does."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def run_installed(site: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Runs code against the package laid out in ``site``, away from the working tree.

    An editable installation would come first, by its own import hook: only Python's own are kept.
    """
    own_hooks = "[h for h in sys.meta_path if h.__module__.startswith('_frozen_importlib')]"
    result = run(
        *(sys.executable, "-P", "-c", f"import sys\nsys.meta_path[:] = {own_hooks}\n{code}"),
        cwd=site,
        PYTHONPATH=str(site),
        BAYES_SBN_BACKEND="auto",
        BAYES_SBN_ISA="auto",
    )
    assert result.returncode == 0, result.stderr
    return result
