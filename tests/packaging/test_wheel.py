"""Wheels: one per platform for every Python, and a pure one where nothing compiles, same bits."""

import email
import hashlib
import json
import zipfile
from pathlib import Path

import pytest
import torch

from bayes_sbn.kernels.cuda.device import sources
from bayes_sbn.kernels.reference import packing as reference
from tests.kernels.packing_cases import signs
from tests.packaging.building import (
    build_wheel,
    copy_of_sources,
    has_compiler,
    run,
    run_installed,
    tool,
    unpack_wheel,
)

NO_COMPILER = {"CC": "/bin/false", "CXX": "/bin/false", "BAYES_SBN_REQUIRE_NATIVE": ""}
QUESTION = """
import json, warnings
warnings.simplefilter("ignore", RuntimeWarning)
import torch
import bayes_sbn.bits
from bayes_sbn.kernels import backend_info, pack, popcount, unpack
x = torch.tensor({values})
bits = pack(x)
print(json.dumps({{
    "backend": backend_info().backend,
    "package": bayes_sbn.bits.__file__,
    "words": bits.data.tolist(),
    "counts": popcount(bits).tolist(),
    "back": bool(torch.equal(unpack(bits, x.dtype), x)),
}}))
"""


def check_bits(site: Path, backend: str) -> None:
    """The installed package packs as the working tree's definition does, on this backend."""
    x = signs((3, 70))
    answer = json.loads(run_installed(site, QUESTION.format(values=x.tolist())).stdout)
    words = reference.pack(x)
    assert answer["backend"] == backend
    assert torch.equal(torch.tensor(answer["words"], dtype=torch.int32), words)
    assert answer["counts"] == reference.popcount(words, 70).tolist()
    assert answer["back"]
    assert Path(answer["package"]).parent == site / "bayes_sbn"


def check_cuda_sources(site: Path) -> None:
    """The source of the CUDA kernels is installed, as it is in the working tree."""
    code = """
import hashlib, json
from bayes_sbn.kernels.cuda.device import sources
print(json.dumps({name: hashlib.sha256(t.encode()).hexdigest() for name, t in sources().items()}))
"""
    result = run_installed(site, code)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found == {
        name: hashlib.sha256(text.encode()).hexdigest() for name, text in sources().items()
    }


def only_wheel(sources: Path) -> Path:
    (wheel,) = (sources / "dist").glob("*.whl")
    return wheel


def names_in(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_wheel_without_a_compiler_is_pure_and_gives_the_same_bits(tmp_path):
    sources = copy_of_sources(tmp_path / "sources")
    # What an earlier build left in the tree must not slip into a wheel that has not compiled it.
    (sources / "bayes_sbn/kernels/libbsbn.so").write_bytes(b"left over")
    result = build_wheel(sources, **NO_COMPILER)
    assert result.returncode == 0, result.stdout + result.stderr
    wheel = only_wheel(sources)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert [name for name in names_in(wheel) if name.endswith((".so", ".dylib", ".dll"))] == []
    site = unpack_wheel(wheel, tmp_path / "site")
    check_bits(site, "reference")
    check_cuda_sources(site)
    code = "import bayes_sbn.kernels as k, torch\nfor _ in range(3): k.pack(torch.ones(3))"
    warning = run_installed(site, code).stderr
    assert warning.count("bayes_sbn runs without its compiled kernels") == 1


def test_build_that_requires_the_kernels_fails_without_a_compiler(tmp_path):
    sources = copy_of_sources(tmp_path / "sources")
    result = build_wheel(sources, **{**NO_COMPILER, "BAYES_SBN_REQUIRE_NATIVE": "1"})
    assert result.returncode != 0
    assert not list(sources.glob("dist/*.whl"))
    assert "the kernel library could not be built" in result.stdout + result.stderr


@pytest.mark.native
@pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler and CMake")
def test_wheel_has_the_library_and_one_tag_for_every_python(built_sources, tmp_path):
    wheel = only_wheel(built_sources)
    *_, python, abi, platform_tag = wheel.stem.split("-")
    assert (python, abi) == ("py3", "none")
    assert platform_tag != "any"

    names = names_in(wheel)
    libraries = [name for name in names if name.endswith((".so", ".dylib", ".dll"))]
    assert len(libraries) == 1
    assert libraries[0].startswith("bayes_sbn/kernels/")
    assert "bayes_sbn/py.typed" in names
    assert "bayes_sbn/kernels/reference/packing.py" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    strangers = [n for n in names if not n.startswith(("bayes_sbn/", "bayes_sbn-"))]
    assert strangers == []
    assert [n for n in names if n.endswith((".cpp", ".map", ".pyc"))] == []
    assert [n for n in names if "tests" in n.split("/") or "/test_" in n] == []
    assert [n for n in names if "/csrc/avx" in n] == []

    with zipfile.ZipFile(wheel) as archive:
        (metadata_name,) = (n for n in names if n.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(metadata_name))
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    site = unpack_wheel(wheel, tmp_path / "site")
    check_bits(site, "native")
    check_cuda_sources(site)


@pytest.mark.slow
@pytest.mark.native
@pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler and CMake")
def test_source_distribution_builds_the_same_wheel(tmp_path):
    sources = copy_of_sources(tmp_path / "sources")
    build = (tool("python3"), "-m", "build", "--no-isolation", "--outdir", "dist")
    result = run(*build, cwd=sources, BAYES_SBN_REQUIRE_NATIVE="1")  # the wheel from the archive
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(list(sources.glob("dist/*.tar.gz"))) == 1
    direct = copy_of_sources(tmp_path / "direct")
    assert build_wheel(direct, BAYES_SBN_REQUIRE_NATIVE="1").returncode == 0
    assert sorted(names_in(only_wheel(sources))) == sorted(names_in(only_wheel(direct)))
    check_bits(unpack_wheel(only_wheel(sources), tmp_path / "site"), "native")
