"""`make` sets everything up once and only once; `.ci/run` fails if tests or linters do."""

import os
import shutil
from pathlib import Path

import pytest

from tests.packaging.building import ROOT, run

pytestmark = pytest.mark.skipif(
    shutil.which("make") is None or shutil.which("bash") is None, reason="needs make and bash"
)
INPUTS = (
    "pyproject.toml",
    "constraints.txt",
    "CMakeLists.txt",
    "bayes_sbn/kernels/csrc/bsbn.h",
    "bayes_sbn/kernels/csrc/avx2/packing.cpp",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that was never set up, all files of the same age."""
    shutil.copytree(ROOT / "bayes_sbn/kernels/csrc", tmp_path / "bayes_sbn/kernels/csrc")
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "CMakeLists.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for path in tmp_path.rglob("*"):
        os.utime(path, (1000, 1000))
    return tmp_path


def set_up(project: Path) -> None:
    """Leaves the stamps that a finished set-up leaves."""
    (project / ".venv").mkdir()
    for second, stamp in enumerate((".created", ".tools", ".installed")):
        (project / ".venv" / stamp).touch()
        os.utime(project / ".venv" / stamp, (2000 + second, 2000 + second))


def plan(project: Path, target: str) -> list[str]:
    """The commands that make would run."""
    result = run("make", "-n", target, cwd=project, MAKEFLAGS="", MAKELEVEL="")
    assert result.returncode == 0, result.stderr
    return [line for line in result.stdout.splitlines() if not line.startswith("make")]


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("test", ".venv/bin/python -m pytest"),
        ("demo", ".venv/bin/bayes-sbn demo"),
        ("test-slow", ".venv/bin/python -m pytest -m slow"),
        ("wheel", "-m build --wheel --no-isolation"),
    ],
)
def test_second_run_repeats_no_set_up(project, target, command):
    first = plan(project, target)
    assert any("-m venv" in line for line in first)
    assert any("pip install" in line and "-e '.[test]'" in line for line in first)
    assert command in first[-1]
    set_up(project)
    assert plan(project, target) == first[-1:]


@pytest.mark.parametrize("changed", INPUTS)
def test_change_of_an_input_installs_again(project, changed):
    set_up(project)
    os.utime(project / changed, (3000, 3000))
    again = plan(project, "test")
    assert any("pip install" in line and "-e '.[test]'" in line for line in again)
    assert not any("-m venv" in line for line in again)


def test_every_installation_is_constrained(project):
    installs = [line for line in plan(project, "docs") if "pip install" in line]
    assert len(installs) >= 3
    assert all("-c constraints.txt" in line for line in installs)


def test_python_that_is_too_old_is_refused_with_advice(project, tmp_path):
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "find", "touch", "make"):
        (programs / name).symlink_to(str(shutil.which(name)))
    for name in ("python3.11", "python3", "python"):
        (programs / name).write_text("#!/bin/sh\nexit 1\n")  # what an older Python answers
        (programs / name).chmod(0o755)
    result = run("make", "test", cwd=project, PATH=str(programs), MAKEFLAGS="", MAKELEVEL="")
    assert result.returncode != 0
    assert "needs Python 3.11 or newer" in result.stderr
    assert "make PYTHON=/path/to/python3.11 test" in result.stderr
    assert not (project / ".venv").exists()


CLOSING = "===== 12 passed, 1 skipped in 75.31s (0:01:15) ====="


@pytest.mark.parametrize(
    ("closing", "test_status", "lint_status", "succeeds"),
    [
        (CLOSING, 0, 0, True),
        (CLOSING, 1, 0, False),
        (CLOSING, 0, 1, False),
        ("no tests were run", 0, 0, False),
    ],
)
def test_continuous_integration_fails_if_either_does(
    tmp_path, closing, test_status, lint_status, succeeds
):
    stub = tmp_path / "make"
    stub.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = test ]; then echo "{closing}"; exit {test_status}; fi\n'
        f"echo linted; exit {lint_status}\n"
    )
    stub.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    result = run(ROOT / ".ci/run", cwd=tmp_path, PATH=path)
    assert (result.returncode == 0) is succeeds
    assert "linted" in result.stdout  # the linters run even where the tests failed
    if closing == CLOSING:
        assert result.stdout.splitlines()[-1] == CLOSING
