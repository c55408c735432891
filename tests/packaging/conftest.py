"""One compilation of the kernels for all tests that look at what it leaves."""

import os
import platform
from pathlib import Path

import pytest

from tests.packaging.building import build_wheel, copy_of_sources

# Someone's CXXFLAGS, which may not reach the files that must run on every processor.
WIDE_FLAGS = "-march=x86-64-v3" if platform.machine() in ("x86_64", "AMD64") else ""


@pytest.fixture(scope="session")
def built_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sources with a wheel in ``dist`` and its object files in ``build``, made by whoever is first.

    The processes of pytest-xdist have a folder in common; those that come later wait for the first.
    """
    import fcntl

    own = tmp_path_factory.getbasetemp()
    root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    sources = root / "built_sources"
    with (root / "built_sources.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not sources.exists():
            copy_of_sources(sources)
            result = build_wheel(
                sources,
                "--config-settings=build-dir=build",
                BAYES_SBN_REQUIRE_NATIVE="1",
                CXXFLAGS=WIDE_FLAGS,
            )
            (sources / "output.txt").write_text(result.stdout + result.stderr)
    assert list(sources.glob("dist/*.whl")), (sources / "output.txt").read_text()
    return sources
