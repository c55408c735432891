"""The study of speed on a CUDA device: its kernels and rivals on an emulated one, its refusal."""

import shutil
import subprocess

import numpy as np
import pytest
import torch

from bayes_sbn.kernels import streams
from bayes_sbn.kernels.cuda.compiler import OPTIONS, find_compiler
from bayes_sbn.kernels.cuda.ensemble import DevicePlanes
from studies.speed import cuda, cuda_rates
from studies.speed.predict import make_setting
from tests.kernels.cuda.emulated import COMPILER, CSRC, IMAGE, EmulatedDevice, build

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="needs Linux and a C++ compiler")


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rates")
    return build(folder, None, "-DEMULATED_RATES", f"-I{cuda_rates.SOURCE.parent}")


@pytest.fixture
def setting():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    yield make_setting(70, 33, 12)
    torch.set_default_dtype(before)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_the_study_says_so():
    with pytest.raises(SystemExit, match=r"needs a CUDA device.*finds no CUDA device"):
        cuda.main(["--quick"])


@needs_compiler
def test_rates_are_counted(emulator, setting):
    device = EmulatedDevice(emulator)
    module = device.driver.load(IMAGE, cuda_rates.KERNELS)
    layer = setting.ensemble.mixture.networks[0].layers[0]
    planes = DevicePlanes(streams.planes_of(layer), device.torch_device)
    turns = 3
    found = cuda_rates.rates(
        module,
        planes,
        layer.num_units,
        layer.num_inputs,
        device=device.torch_device,
        blocks=2,
        turns=turns,
        stream=0,
    )
    assert set(found) == set(cuda_rates.EACH_TURN)
    for name, (_, number) in cuda_rates.EACH_TURN.items():
        # the emulator's clock ticks whenever a thread looks at it: twice each
        assert 0 < number * turns / found[name] <= 2 * cuda_rates.THREADS


@needs_compiler
def test_members_of_the_rivals_are_those_of_the_ensemble(emulator, setting, monkeypatch, capsys):
    monkeypatch.setattr(streams, "current_device", lambda call: EmulatedDevice(emulator))
    cuda.check(setting)
    assert "equal those of the CPU" in capsys.readouterr().out
    rivals = cuda.on_device(setting, torch.device("cpu"))
    members = cuda.candidates(setting, rivals, 4)
    for name, (run, number) in members.items():
        found = run()
        if name in ("independent", "shared"):
            assert found.probs_per_draw.shape == (12, 33, 10)
            assert number == 12
        else:
            assert found.shape[-2:] == (33, 10)
            assert number == (4 if "batched" in name else 1)
    own = setting.ensemble.predict(setting.x, noise="independent").mean
    torch.manual_seed(1)
    many = cuda.batched_members(rivals, 400, torch.bfloat16).mean(0).double().numpy()
    assert np.abs(many - own).mean() < 0.1
    assert np.abs(many - own[::-1]).mean() > np.abs(many - own).mean()


@needs_compiler
def test_bits_that_differ_end_the_study(emulator, setting, monkeypatch):
    monkeypatch.setattr(streams, "current_device", lambda call: EmulatedDevice(emulator))
    right = streams.CudaStream.integer_logits
    monkeypatch.setattr(
        streams.CudaStream, "integer_logits", lambda *args, **options: right(*args, **options) + 2
    )
    with pytest.raises(SystemExit, match="3960 of 3960 logits differ"):
        cuda.check(setting)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
def test_rates_compile(tmp_path):
    command = ["nvcc", *OPTIONS, "-arch=sm_90", "-cubin", f"-I{CSRC}", f"-I{CSRC / 'cuda'}"]
    output = tmp_path / "rates.cubin"
    result = subprocess.run(
        [*command, "-o", str(output), str(cuda_rates.SOURCE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    for name in cuda_rates.KERNELS:
        assert name.encode() in output.read_bytes()


def test_rates_compile_by_nvrtc():
    try:
        compiler = find_compiler(None)
    except RuntimeError as error:
        pytest.skip(f"needs NVRTC (the extra test-cuda): {error}")
    assert cuda_rates.compiled_rates(compiler, "sm_90").startswith(b"\x7fELF")
