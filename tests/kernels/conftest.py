"""The compiled library, if there is one, and a clean choice of backend around each test."""

from collections.abc import Iterator

import pytest

from bayes_sbn.kernels import loader


@pytest.fixture(autouse=True)
def _fresh_choice(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test chooses its backend anew, from an environment without our variables."""
    monkeypatch.delenv("BAYES_SBN_BACKEND", raising=False)
    monkeypatch.delenv("BAYES_SBN_ISA", raising=False)
    loader._choose.cache_clear()
    loader._warn_once.cache_clear()
    yield
    loader._choose.cache_clear()
    loader._warn_once.cache_clear()


def ran_by(library: loader.NativeLibrary) -> str:
    """The instruction set of operations other than ensembles."""
    return "avx512" if library.isa == "amx" else library.isa


@pytest.fixture
def library() -> Iterator[loader.NativeLibrary]:
    """The compiled library; its instruction set is put back afterwards."""
    if not loader.library_path().exists():
        pytest.skip("the kernel library is not built")
    library = loader.NativeLibrary(loader.library_path())
    isa = library.isa
    yield library
    library.set_isa(isa)


@pytest.fixture(params=loader.ISAS)
def forced_library(request: pytest.FixtureRequest, library: loader.NativeLibrary):
    """The compiled library, forced to each instruction set that this machine has."""
    if request.param not in library.available_isas:
        pytest.skip(f"no {request.param} here")
    library.set_isa(request.param)
    return library
