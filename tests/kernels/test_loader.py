"""Which backend runs: the choice, forced choices, the warning, and libraries that are not ours."""

import ctypes
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from bayes_sbn.kernels import backend_info, loader, pack, popcount
from bayes_sbn.kernels.native import flips, fused_linear, packing
from tests.kernels.packing_cases import signs

CSRC = Path(loader.__file__).parent / "csrc"


@pytest.fixture
def _no_library(monkeypatch, tmp_path):
    monkeypatch.setattr(loader, "library_path", lambda: tmp_path / "libbsbn.so")


def choose(monkeypatch, **variables):
    """Sets the environment and forgets the choice made before."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    loader._choose.cache_clear()


@pytest.mark.native
@pytest.mark.usefixtures("library")
def test_auto_takes_the_library_and_its_widest_instruction_set():
    info = backend_info()
    assert (info.backend, info.library) == ("native", loader.library_path())
    assert info.isa == info.available_isas[-1]
    assert info.available_isas[0] == "portable"


@pytest.mark.native
def test_forced_backend_is_the_one_that_runs(library, monkeypatch):
    ran = []
    monkeypatch.setattr(
        loader.NativeLibrary, "run", lambda _, function, *__, **___: ran.append(function) or 0
    )
    choose(monkeypatch, BAYES_SBN_BACKEND="reference")
    pack(torch.ones(3))
    assert ran == []
    choose(monkeypatch, BAYES_SBN_BACKEND="native")
    pack(torch.ones(3))
    assert ran == ["bsbn_pack"]


@pytest.mark.native
def test_forced_instruction_set_is_the_one_that_runs(library, monkeypatch):
    for isa in library.available_isas:
        choose(monkeypatch, BAYES_SBN_ISA=isa)
        info = backend_info()
        assert (info.backend, info.isa, info.reason) == ("native", isa, f"BAYES_SBN_ISA={isa}")
        assert popcount(pack(torch.ones(40))) == 40
        assert library.isa == isa  # the library's own answer


def test_forced_reference_runs_without_a_word(monkeypatch):
    choose(monkeypatch, BAYES_SBN_BACKEND="reference")
    info = backend_info()
    assert (info.backend, info.isa, info.library) == ("reference", None, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pack(torch.ones(3)).data.tolist() == [7]


@pytest.mark.parametrize("name", ["BAYES_SBN_BACKEND", "BAYES_SBN_ISA"])
@pytest.mark.parametrize("value", ["fast", "", "Native", "AVX2"])
def test_unknown_choices_are_refused(monkeypatch, name, value):
    choose(monkeypatch, **{name: value})
    with pytest.raises(ValueError, match=rf"{name}={value!r} is not known: choose auto, "):
        pack(torch.ones(3))


@pytest.mark.native
@pytest.mark.usefixtures("library")
def test_instruction_set_that_the_processor_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(loader, "ISAS", (*loader.ISAS, "riscv"))
    choose(monkeypatch, BAYES_SBN_ISA="riscv")
    with pytest.raises(RuntimeError, match=r"riscv cannot run here: .* share portable"):
        pack(torch.ones(3))


def test_contradicting_choices_are_refused(monkeypatch):
    choose(monkeypatch, BAYES_SBN_BACKEND="reference", BAYES_SBN_ISA="avx2")
    with pytest.raises(ValueError, match=r"ISA=avx2 .*BACKEND=reference .*Unset one of the two"):
        backend_info()


@pytest.mark.usefixtures("_no_library")
def test_missing_library_warns_once_and_gives_the_same_bits():
    x = signs((3, 50))
    with pytest.warns(RuntimeWarning, match=r"without its compiled kernels.*there is no libbsbn"):
        words = pack(x).data
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(pack(x).data, words)
    info = backend_info()
    assert info.backend == "reference"
    assert info.reason.startswith("there is no libbsbn.so in ")


@pytest.mark.usefixtures("_no_library")
def test_asking_which_backend_runs_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert backend_info().backend == "reference"


@pytest.mark.usefixtures("_no_library")
@pytest.mark.parametrize(
    ("name", "value"), [("BAYES_SBN_BACKEND", "native"), ("BAYES_SBN_ISA", "portable")]
)
def test_forced_library_that_is_missing_is_an_error(monkeypatch, name, value):
    choose(monkeypatch, **{name: value})
    with pytest.raises(RuntimeError, match=rf"{name}={value} needs the compiled kernel library"):
        pack(torch.ones(3))


@pytest.mark.usefixtures("_no_library")
def test_file_that_is_no_library_is_named_in_the_warning():
    loader.library_path().write_bytes(b"not a shared object")
    with pytest.warns(RuntimeWarning, match=r"compiled kernels.*libbsbn\.so"):
        assert pack(torch.ones(3)).data.tolist() == [7]


@pytest.mark.native
@pytest.mark.usefixtures("library")
def test_library_of_another_version_is_an_error_even_when_not_forced(monkeypatch):
    monkeypatch.setattr(loader, "ABI_VERSION", loader.ABI_VERSION + 1)
    with pytest.raises(RuntimeError, match=r"has interface \d+, this package needs \d+"):
        pack(torch.ones(3))


def test_version_and_codes_are_those_of_the_header():
    header = (CSRC / "bsbn.h").read_text()
    assert int(re.search(r"#define BSBN_ABI_VERSION (\d+)", header)[1]) == loader.ABI_VERSION
    codes = dict(re.findall(r"BSBN_(\w+) = (\d+)", header))
    assert int(codes["OK"]) == loader.STATUS_OK
    assert int(codes["NOT_A_SIGN"]) == loader.STATUS_NOT_A_SIGN
    assert int(codes["OUT_OF_MEMORY"]) == loader.STATUS_OUT_OF_MEMORY
    assert int(codes["NOT_FINITE"]) == loader.STATUS_NOT_FINITE
    assert int(codes["SUMS_TOO_LARGE"]) == loader.STATUS_SUMS_TOO_LARGE
    assert [int(codes[isa.upper()]) for isa in loader.ISAS] == list(range(int(codes["NUM_ISAS"])))
    for dtype, code in packing._VALUE_TYPES.items():
        assert int(codes[str(dtype).removeprefix("torch.").upper()]) == code
    for dtype, code in flips._VALUE_TYPES.items():
        assert packing._VALUE_TYPES[dtype] == code
    laws = {"logistic": flips.LOGISTIC, "scaled_logistic": flips.SCALED_LOGISTIC, **flips.LAWS}
    assert sorted(laws.values()) == list(range(int(codes["NUM_FLIP_LAWS"])))
    for law, code in laws.items():
        assert int(codes[law.upper()]) == code


@pytest.mark.parametrize(
    ("struct", "name"),
    [
        (packing.PackArguments, "bsbn_pack_args"),
        (packing.UnpackArguments, "bsbn_unpack_args"),
        (packing.PopcountArguments, "bsbn_popcount_args"),
        (flips.FlipSumsArguments, "bsbn_flip_sums_args"),
        (fused_linear.StochasticLinearArguments, "bsbn_stochastic_linear_args"),
        (fused_linear.SignLinearArguments, "bsbn_sign_linear_args"),
        (fused_linear.LinearLogitsArguments, "bsbn_linear_logits_args"),
        (fused_linear.IntegerLinearArguments, "bsbn_integer_linear_args"),
    ],
)
def test_structs_have_the_fields_of_the_header(struct, name):
    body = re.search(rf"struct {name} \{{(.*?)\}}", (CSRC / "bsbn.h").read_text(), re.DOTALL)[1]
    fields = re.findall(r"^\s*(.*?)(\w+);", body, re.MULTILINE)
    expected = [
        (field, ctypes.c_void_p if "*" in kind else ctypes.c_int64) for kind, field in fields
    ]
    assert len(expected) >= 6
    assert list(struct._fields_) == expected


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    root = Path(loader.__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PYTHONPATH": str(root), "PATH": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_kernels_are_imported_without_touching_the_library():
    code = (
        "import ctypes\n"
        "def refuse(*_, **__): raise AssertionError('loaded at import')\n"
        "import torch; ctypes.CDLL = refuse\n"
        "import bayes_sbn.kernels; print('imported')\n"
    )
    result = run_python(code, BAYES_SBN_BACKEND="nonsense")
    assert (result.stdout, result.returncode) == ("imported\n", 0), result.stderr
