"""Devices: what is missing is said, and what is there is compiled for, loaded and launched."""

from types import SimpleNamespace

import pytest
import torch

from bayes_sbn.kernels.cuda import device as devices
from bayes_sbn.kernels.cuda.driver import Driver
from bayes_sbn.kernels.cuda.ensemble import KERNELS, TableArguments
from bayes_sbn.kernels.native.ensemble import LAWS
from tests.kernels.cuda.emulated import COMPILER, IMAGE, EmulatedDevice, build, by_device
from tests.kernels.ensemble_cases import DRAWS, random_case


class FakeCompiler:
    version, path = "13.0", "libnvrtc.so.13"

    def architectures(self):
        return (80, 90)

    def compile(self, main, sources, architecture):
        return IMAGE


@pytest.fixture
def card(monkeypatch, tmp_path):
    """A device that torch sees; what it has can be changed."""
    has = SimpleNamespace(capability=(9, 0), driver=str(tmp_path / "none"), compiler=FakeCompiler())
    monkeypatch.setenv("BAYES_SBN_CACHE", str(tmp_path))
    for name, value in {
        "is_available": lambda: True,
        "current_device": lambda: 0,
        "get_device_capability": lambda index: has.capability,
        "get_device_name": lambda index: "a card",
        "get_device_properties": lambda index: SimpleNamespace(multi_processor_count=7),
        "current_stream": lambda device: SimpleNamespace(cuda_stream=0),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(devices, "library_name", lambda: has.driver)
    monkeypatch.setattr(devices, "find_compiler", lambda cuda: has.compiler)
    devices._opened.cache_clear()
    yield has
    devices._opened.cache_clear()


def test_a_device_is_opened_once_and_launches(card, emulator):
    card.driver = str(emulator)
    device = devices.current_device("predict()")
    assert devices.current_device("predict()") is device
    assert (device.torch_device, device.processors) == (torch.device("cuda", 0), 7)
    table = torch.zeros(4096, dtype=torch.int32)
    arguments = TableArguments(table=table.data_ptr(), law=LAWS["gaussian"])
    device.launch("bsbn_table", (16, 1, 1), 256, arguments)
    assert table.all()


def test_no_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    words = (
        r"predict\(backend='cuda'\): torch .*, a build without CUDA, finds no CUDA device.*'auto'"
    )
    with pytest.raises(RuntimeError, match=words):
        devices.current_device("predict()")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(RuntimeError, match=r"torch \S+ finds no CUDA device"):
        devices.current_device("predict()")


def test_a_device_of_another_maker(card, monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "7.0")
    with pytest.raises(RuntimeError, match="finds no CUDA device"):
        devices.current_device("predict()")


def test_an_old_device(card):
    card.capability = (7, 5)
    words = r"logits\(backend='cuda'\).*capability 8\.0.*device 0 \(a card\) has 7\.5.*set_device"
    with pytest.raises(RuntimeError, match=words):
        devices.current_device("logits()")


def test_a_device_that_the_compiler_does_not_know(card):
    card.capability = (12, 0)
    words = r"predict\(backend='cuda'\): NVRTC 13\.0 .*does not know.*12\.0.*newer.*Or write"
    with pytest.raises(RuntimeError, match=words):
        devices.current_device("predict()")


def test_no_driver(card):
    words = r"predict\(backend='cuda'\): the CUDA driver .*none cannot be loaded.*Or write"
    with pytest.raises(RuntimeError, match=words):
        devices.current_device("predict()")


def test_what_the_driver_refuses_is_quoted(emulator):
    driver = Driver(str(emulator))
    with pytest.raises(RuntimeError, match=r"cuDeviceGet failed: CUDA_ERROR_INVALID_VALUE \(1\)"):
        driver.context(3)
    with pytest.raises(RuntimeError, match=r"cuModuleLoadData failed: CUDA_ERROR_INVALID_IMAGE"):
        driver.load(b"something else", KERNELS)
    with pytest.raises(RuntimeError, match=r"cuModuleGetFunction failed: CUDA_ERROR_NOT_FOUND"):
        driver.load(IMAGE, ["bsbn_none"])
    driver._library.cuInit.restype = lambda status: 77
    with pytest.raises(RuntimeError, match=r"cuInit failed: an unknown error \(77\)"):
        driver.context(0)


def test_a_launch_that_is_too_large_is_refused(emulator):
    device = EmulatedDevice(emulator)
    with pytest.raises(RuntimeError, match=r"cuLaunchKernel failed: CUDA_ERROR_INVALID_VALUE"):
        device.launch("bsbn_table", (1, 70_000, 1), 256, TableArguments())


@pytest.mark.skipif(COMPILER is None, reason="needs Linux and a C++ compiler")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ("cuda/layer.cuh", "if (!is_filled) {", "if (!is_filled && threadIdx.x != 40) {"),
            "wait for others",
        ),
        (
            (
                "cuda/layer.cuh",
                "  __syncwarp();  // prod",
                "  if (threadIdx.x != 3) __syncwarp();  // ",
            ),
            "different operations",
        ),
    ],
)
def test_the_emulator_refuses_what_a_device_leaves_undefined(tmp_path, change, words):
    file, old, new = change
    device = EmulatedDevice(build(tmp_path, {file: (old, new)}))
    network, inputs, key, first_row = random_case("10")
    options = {"key": key, "draws": DRAWS, "is_shared": True, "first_row": first_row}
    with pytest.raises(RuntimeError, match=rf"CUDA_ERROR_LAUNCH_FAILED \(719\), .*{words}"):
        by_device(device, network, inputs, **options)
