"""The CUDA kernels, emulated, under AddressSanitizer and UndefinedBehaviorSanitizer."""

import sys

import pytest

from tests.kernels.cuda.emulated import COMPILER, build
from tests.packaging.building import ROOT, run
from tests.packaging.test_sanitizers import sanitizer_paths

SCRIPT = """
import sys
from pathlib import Path
from bayes_sbn.kernels.reference.network import draw_network
from tests.kernels.cuda.emulated import EmulatedDevice, by_device
from tests.kernels.ensemble_cases import DRAWS, by_reference, random_case

device = EmulatedDevice(Path(sys.argv[1]), processors=3)
for case in range(20):
    network, inputs, key, first_row = random_case(str(case))
    for is_shared in (True, False):
        options = {"key": key, "draws": DRAWS, "is_shared": is_shared, "first_row": first_row}
        wanted = by_reference(network, inputs, **options)
        for words in (None, draw_network(network, key, DRAWS)):
            found = by_device(device, network, inputs, words=words, **options)
            assert (found == wanted).all()
print("clean")
"""
# frames of fibers are not those that the sanitizer knows: it watches the heap
FLAGS = (
    *("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"),
    *("--param", "asan-stack=0"),
)
BEYOND = {"cuda/layer.cuh": ("begin + row < rows;", "begin + row < rows + 2;")}


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None or not sanitizer_paths(), reason="needs GCC's sanitizers")
def test_the_kernels_stay_within_their_memory(tmp_path):
    def run_kernels(name, changes):
        (tmp_path / name).mkdir()
        return run(
            *(sys.executable, "-c", SCRIPT, build(tmp_path / name, changes, *FLAGS)),
            cwd=ROOT,
            LD_PRELOAD=" ".join(sanitizer_paths()),
            ASAN_OPTIONS="detect_leaks=0",
            PYTHONPATH=str(ROOT),
        )

    clean = run_kernels("clean", None)
    assert (clean.stdout.strip(), clean.returncode) == ("clean", 0), clean.stderr
    beyond = run_kernels("beyond", BEYOND)  # the sanitizers are awake
    assert beyond.returncode != 0
    assert "heap-buffer-overflow" in beyond.stderr
