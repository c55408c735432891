"""The kernels compile for every architecture, to products of bits and without fused operations."""

import re
import shutil
import subprocess

import pytest

from bayes_sbn.kernels.cuda import compiler as compilers
from bayes_sbn.kernels.cuda import device
from bayes_sbn.kernels.cuda.compiler import OPTIONS, CompilationError, Compiler, find_compiler
from bayes_sbn.kernels.cuda.ensemble import KERNELS
from tests.kernels.cuda.emulated import CSRC

NVCC = shutil.which("nvcc")
DISASSEMBLER = shutil.which("cuobjdump")
ARCHITECTURES = ("80", "86", "89", "90", "100", "120")

needs_nvcc = pytest.mark.skipif(NVCC is None, reason="needs nvcc")


@pytest.fixture(scope="module")
def nvrtc():
    try:
        return find_compiler(None)
    except RuntimeError as error:
        pytest.skip(f"needs NVRTC (the extra test-cuda): {error}")


def run_nvcc(output, *flags):
    source = str(CSRC / "cuda/ensemble.cu")
    command = [NVCC, *flags, f"-I{CSRC}", "-o", str(output), source]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return output.read_bytes()


@needs_nvcc
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nvcc_compiles_for(tmp_path, architecture):
    code = run_nvcc(tmp_path / "code.cubin", *OPTIONS, "-cubin", f"-arch=sm_{architecture}")
    assert code.startswith(b"\x7fELF")
    for name in KERNELS:
        assert name.encode() in code


@needs_nvcc
def test_products_are_of_bits_and_nothing_is_fused(tmp_path):
    ptx = run_nvcc(tmp_path / "code.ptx", *OPTIONS, "-ptx", "-arch=compute_90").decode()
    products = re.findall(r"mma\.sync\S+", ptx)
    assert products
    assert set(products) == {"mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc"}
    assert "mul.rn.f64" in ptx
    assert "fma.rn.f64" not in ptx
    fused = run_nvcc(tmp_path / "fused.ptx", OPTIONS[0], "-ptx", "-arch=compute_90").decode()
    assert "fma.rn.f64" in fused  # the compiler does so unless it is told


@needs_nvcc
@pytest.mark.skipif(DISASSEMBLER is None, reason="needs cuobjdump")
def test_hopper_has_one_instruction_for_a_product(tmp_path):
    run_nvcc(tmp_path / "code.cubin", *OPTIONS, "-cubin", "-arch=sm_90")
    listing = subprocess.run(
        [DISASSEMBLER, "-sass", str(tmp_path / "code.cubin")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "BMMA.168256.AND.POPC" in listing
    assert "XOR.POPC" not in listing


def test_nvrtc_compiles_the_same_source(nvrtc):
    assert 90 in nvrtc.architectures()
    code = nvrtc.compile(device.MAIN, device.sources(), "sm_90")
    assert code.startswith(b"\x7fELF")
    for name in KERNELS:
        assert name.encode() in code


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nvrtc_compiles_for(nvrtc, architecture):
    code = nvrtc.compile(device.MAIN, device.sources(), f"sm_{architecture}")
    assert code.startswith(b"\x7fELF")


def test_what_nvrtc_refuses_is_quoted(nvrtc):
    texts = {"a.cu": '#include "b.h"\n', "b.h": "__device__ int wrong = 1 +;\n"}
    with pytest.raises(CompilationError, match=r"(?s)cannot compile a\.cu for sm_90.*b\.h\(1\)"):
        nvrtc.compile("a.cu", texts, "sm_90")
    with pytest.raises(CompilationError, match="INVALID_OPTION"):
        nvrtc.compile("a.cu", {"a.cu": ""}, "sm_1")


def test_without_nvrtc_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(compilers.sys, "path", [str(tmp_path)])
    monkeypatch.setattr(compilers.ctypes.util, "find_library", lambda name: None)
    monkeypatch.setattr(compilers, "TOOLKIT", tmp_path / "none")
    monkeypatch.setattr(compilers.sys, "prefix", str(tmp_path))
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    for version, package in (("13.0", "nvidia-cuda-nvrtc`"), ("12.8", "nvidia-cuda-nvrtc-cu12`")):
        with pytest.raises(RuntimeError, match=f"NVRTC.*is not here.*pip install {package}"):
            find_compiler(version)
    folder = tmp_path / "nvidia" / "cu13" / "lib"
    folder.mkdir(parents=True)
    (folder / "libnvrtc.so.13").write_text("no library")
    with pytest.raises(RuntimeError, match=r"libnvrtc\.so\.13\) cannot be loaded"):
        find_compiler("13.0")


def test_the_compiler_of_torchs_own_cuda_is_preferred(monkeypatch, tmp_path):
    monkeypatch.setattr(compilers.sys, "path", [str(tmp_path)])
    monkeypatch.setattr(compilers, "TOOLKIT", tmp_path / "none")
    monkeypatch.setattr(compilers.ctypes.util, "find_library", lambda name: "libnvrtc.so.11")
    monkeypatch.setattr(compilers.sys, "prefix", str(tmp_path))
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    names = (
        "nvidia/cu13/lib/libnvrtc.so.13",
        "nvidia/cu13/lib/libnvrtc-builtins.so.13.0",
        "nvidia/cu13/lib/libnvrtc.alt.so.13",
        "nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
        "torch/lib/libnvrtc-672ee683.so.11.2",
    )
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    for version, first in (("12.8", 3), ("13.0", 0), ("11.8", 4)):
        found = [str(path) for path in compilers._candidates(version)]
        assert found[0] == str(tmp_path / names[first])
        assert sorted(found[:3]) == sorted(str(tmp_path / names[i]) for i in (0, 3, 4))
        assert found[3:] == ["libnvrtc.so.11"]


def test_a_library_that_is_not_nvrtc_is_an_error(tmp_path):
    (tmp_path / "libnvrtc.so").write_bytes(b"")
    with pytest.raises(RuntimeError, match="cannot be loaded"):
        Compiler(tmp_path / "libnvrtc.so")
