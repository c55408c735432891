"""The object files of the kernel library: what must run everywhere has no wide instructions.

A non-static inline function compiled in a file with AVX-512 flags can be the copy that the linker
keeps for everyone, which is an illegal instruction on an older processor. Hence: no object has a
weak symbol of ours, objects of one instruction set have none at all, and baseline objects use no
ymm or zmm register, even if the builder's CXXFLAGS ask for them.
"""

import os
import platform
import re
import shutil
import sys
from pathlib import Path

import pytest

from bayes_sbn.kernels import loader
from tests.packaging.building import ROOT, has_compiler, run

pytestmark = [
    pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler and CMake"),
    pytest.mark.skipif(shutil.which("objdump") is None, reason="needs nm and objdump"),
]
ON_X86 = platform.machine() in ("x86_64", "AMD64")
OPERATIONS = ("packing", "flips", "uniforms", "ensemble", "convolutions", "pooling")


@pytest.fixture
def build(built_sources: Path) -> Path:
    """The build of a wheel by someone whose CXXFLAGS ask for wide instructions."""
    return built_sources / "build"


def objects(build: Path) -> dict[str, Path]:
    """Object files by the path of their source below csrc."""
    return {
        str(path).partition("csrc/")[2].removesuffix(".cpp.o"): path
        for path in build.rglob("*.cpp.o")
    }


def weak_symbols(path: Path) -> list[str]:
    """Symbols of which the linker keeps one copy of many: weak, and GNU unique."""
    lines = run("nm", "--defined-only", path, cwd=path.parent).stdout.splitlines()
    return [line.split()[-1] for line in lines if line.split()[-2] in "WwVvu"]


def wide_registers(path: Path) -> int:
    return len(re.findall(r"%[yz]mm\d", run("objdump", "-d", path, cwd=path.parent).stdout))


def test_objects_are_one_per_operation_and_instruction_set(build):
    expected = {"library", "threads", "layers", "fused_linear", "probabilities"}
    expected.add("activation_table")
    for operation in OPERATIONS:
        expected |= {operation, f"portable/{operation}"}
        if ON_X86:
            expected |= {f"avx2/{operation}", f"avx512/{operation}"}
    if ON_X86 and sys.platform == "linux":
        expected.add("amx/ensemble")
    assert set(objects(build)) == expected


@pytest.mark.skipif(not ON_X86, reason="wide registers are those of x86")
def test_baseline_objects_use_no_wide_registers(build):
    counts = {name: wide_registers(path) for name, path in objects(build).items()}
    wide = {name for name, count in counts.items() if count}
    # also shows that the count can see them
    own = {f"{isa}/{operation}" for isa in ("avx2", "avx512") for operation in OPERATIONS}
    assert wide == own | ({"amx/ensemble"} if sys.platform == "linux" else set())


def test_objects_have_no_weak_symbols_of_ours(build):
    for name, path in objects(build).items():
        weak = weak_symbols(path)
        assert [symbol for symbol in weak if "bsbn" in symbol] == []
        if name.partition("/")[0] in loader.ISAS:
            assert weak == [], name


def test_weak_symbols_are_seen_where_they_are(tmp_path):
    source = tmp_path / "leak.cpp"
    source.write_text(
        "template <class T> T bsbn_leak(T x) { return x + 1; }\n"
        "inline int bsbn_also(int x) { return x + 2; }\n"
        "int (*first)(int) = bsbn_leak<int>;\nint (*second)(int) = bsbn_also;\n"
    )
    compiler = os.environ.get("CXX", "c++")
    assert run(compiler, "-c", source, "-o", "leak.o", cwd=tmp_path).returncode == 0
    assert len([s for s in weak_symbols(tmp_path / "leak.o") if "bsbn" in s]) == 2


@pytest.mark.skipif(platform.system() != "Linux", reason="reads an ELF file")
def test_library_shows_its_interface_and_needs_no_cpp_runtime(build):
    library = build / "libbsbn.so"
    symbols = run("nm", "-D", "--defined-only", library, cwd=build).stdout.split("\n")
    shown = {line.split()[-1] for line in symbols if line}
    header = (ROOT / "bayes_sbn/kernels/csrc/bsbn.h").read_text()
    assert shown == set(re.findall(r"^BSBN_API .*?(\w+)\(", header, re.MULTILINE))
    needed = re.findall(r"NEEDED\s+(\S+)", run("objdump", "-p", library, cwd=build).stdout)
    assert needed
    assert not [name for name in needed if "stdc++" in name or "gcc_s" in name]


@pytest.mark.native
def test_library_is_installed_where_a_compiler_is():
    """Else every test of the compiled kernels would be skipped in silence."""
    assert loader.library_path().exists(), "build it: pip install --no-build-isolation -e ."
    assert "portable" in loader.NativeLibrary(loader.library_path()).available_isas
