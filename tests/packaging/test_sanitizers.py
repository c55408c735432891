"""The kernels under AddressSanitizer and UndefinedBehaviorSanitizer: no stray reads or writes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.building import ROOT, has_compiler, run, tool

SANITIZERS = ("libasan.so", "libubsan.so")
SCRIPT = """
import sys
from pathlib import Path
import torch
from bayes_sbn.kernels.loader import NativeLibrary
from bayes_sbn.kernels.native import flips
from bayes_sbn.kernels.native import packing as native
from bayes_sbn.kernels.native import uniforms as native_uniforms
from bayes_sbn.kernels.reference import flips as flips_reference
from bayes_sbn.kernels.reference import packing as reference
from bayes_sbn.kernels.reference.uniforms import uniforms_like
from bayes_sbn.kernels.native import ensemble as ensembles
from bayes_sbn.kernels.native import convolutions, layers, pooling
from bayes_sbn.kernels.reference import convolutions as convolutions_reference
from bayes_sbn.kernels.reference import pooling as pooling_reference
from bayes_sbn.kernels.native.probabilities import probabilities
from bayes_sbn.kernels.reference import layers as layers_reference
from bayes_sbn.kernels.reference.network import draw_network
from tests.kernels.ensemble_cases import DRAWS, by_library, by_reference, random_case
from tests.kernels import fused_cases
from tests.kernels.flip_cases import COMPILED, EMPTY, SIZES, arguments
from tests.kernels.map_cases import CASES, WINDOWS, packed
from tests.kernels.map_cases import options as options_of_maps
from tests.kernels.map_cases import random_case as random_map_case
from tests.kernels.packing_cases import LENGTHS, NATIVE_DTYPES, as_dtype, signs

library = NativeLibrary(Path(sys.argv[1]))
overrun = int(sys.argv[2])
for isa in library.available_isas:
    library.set_isa(isa)
    for length in (*LENGTHS, 511, 512, 513):
        for dtype in NATIVE_DTYPES:
            x = as_dtype(signs((3, length)), dtype)
            if overrun and not length:
                continue
            words = native.pack(library, x)
            assert torch.equal(words, reference.pack(x))
            assert torch.equal(native.unpack(library, words, length, dtype), x)
            counts = native.popcount(library, words, length + overrun)
            assert overrun or torch.equal(counts, reference.popcount(words, length))
    for size in (*EMPTY, *SIZES):
        for dtype in (torch.float32, torch.float64):
            for noise in COMPILED:
                for scaled in (False, True):
                    given = arguments(size, scaled=scaled, dtype=dtype)
                    sums = flips.flip_sums(library, *given, noise)
                    wanted = flips_reference.flip_sums(*given, noise)
                    torch.testing.assert_close(sums, wanted, rtol=1e-3, atol=1e-3)
    for length in (*LENGTHS, 511, 512, 513):
        for dtype in native_uniforms.VALUE_TYPES:
            found = native_uniforms.uniforms(library, torch.Size([length]), dtype, 9)
            assert torch.equal(found, uniforms_like(torch.empty(length, dtype=dtype), 9))
    for case in range(30):
        network, inputs, key, first_row = random_case(str(case))
        for is_shared in (True, False):
            options = {"key": key, "draws": DRAWS, "is_shared": is_shared, "first_row": first_row}
            found = by_library(library, network, inputs, threads=2, **options)
            wanted = by_reference(network, inputs, **options)
            assert (found == wanted).all()
            words = draw_network(network, key, DRAWS)
            again = ensembles.integer_logits(
                library, network, words, inputs, num_threads=2, **options
            )
            assert (again == wanted).all()
        last = network.layers[-1]
        probabilities(library, wanted, last.scale, last.bias, 2)
        for layer, own in zip(network.layers, words, strict=True):
            planes = ensembles.PlanesOfBlocks.of(layer)
            assert (ensembles.draw_weights(library, layer, planes, key, DRAWS, 2) == own).all()
            rows = torch.from_numpy(own[0].view("int32"))
            for units in (rows, rows[:1]):
                dots = layers.xnor_linear(library, rows, units, layer.num_inputs, 2)
                assert torch.equal(
                    dots, layers_reference.xnor_linear(rows, units, layer.num_inputs)
                )
    for shape in fused_cases.SHAPES:
        given = fused_cases.case(shape)
        for kind in fused_cases.KINDS:
            for name, own in fused_cases.calls(given, kind, poison=True):
                found = fused_cases.by_library(library, name, own, threads=2)
                assert torch.equal(found, fused_cases.by_reference(name, own))
    for case in (*CASES, *(random_map_case(str(number)) for number in range(30))):
        for is_poisoned in (False, True):
            given = (*packed(case, is_poisoned=is_poisoned), *options_of_maps(case))
            found = convolutions.xnor_conv2d(library, *given, 2)
            assert torch.equal(found, convolutions_reference.xnor_conv2d(*given))
    for batch, space, channels, *moves in WINDOWS:
        given = reference.pack(signs((batch, *space, channels))), channels, *map(list, moves)
        for name in ("max_pool2d", "sum_pool2d"):
            found = getattr(pooling, name)(library, *given, 2)
            assert torch.equal(found, getattr(pooling_reference, name)(*given))
print("clean")
"""


def sanitizer_paths() -> list[str]:
    """The runtimes of GCC's sanitizers, which must be loaded before everything else."""
    if sys.platform != "linux" or not has_compiler():
        return []
    found = []
    for name in SANITIZERS:
        result = subprocess.run(
            ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=False
        )
        found += [result.stdout.strip()] if Path(result.stdout.strip()).is_absolute() else []
    return found if len(found) == len(SANITIZERS) else []


@pytest.mark.slow
@pytest.mark.native
@pytest.mark.skipif(tool("gcc") is None or not sanitizer_paths(), reason="needs GCC's sanitizers")
def test_kernels_are_clean_under_sanitizers(tmp_path):
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=all -g"
    for command in ((tool("cmake"), "-S", ROOT, "-B", "."), (tool("cmake"), "--build", ".")):
        result = run(*command, cwd=tmp_path, CC="gcc", CXX="g++", CXXFLAGS=flags)
        assert result.returncode == 0, result.stdout + result.stderr

    def run_kernels(overrun: int) -> subprocess.CompletedProcess[str]:
        return run(
            *(sys.executable, "-c", SCRIPT, tmp_path / "libbsbn.so", str(overrun)),
            cwd=ROOT,
            LD_PRELOAD=" ".join(sanitizer_paths()),
            ASAN_OPTIONS="detect_leaks=0",
            PYTHONPATH=str(ROOT),
        )

    clean = run_kernels(overrun=0)
    assert (clean.stdout.strip(), clean.returncode) == ("clean", 0), clean.stderr
    overrun = run_kernels(overrun=64)  # the sanitizers are awake: two words too many are noticed
    assert overrun.returncode != 0
    assert "heap-buffer-overflow" in overrun.stderr
