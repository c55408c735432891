"""Devices of the tests: an emulated one, and a real one where there is one."""

import pytest
import torch

from bayes_sbn.kernels.cuda.device import current_device
from tests.kernels.cuda.emulated import COMPILER, EmulatedDevice, build


@pytest.fixture(scope="session")
def emulator(tmp_path_factory):
    """The kernels compiled for the CPU."""
    if COMPILER is None:
        pytest.skip("needs Linux and a C++ compiler")
    return build(tmp_path_factory.mktemp("emulator"))


@pytest.fixture(params=["emulated", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """A device, emulated and real."""
    if request.param == "emulated":
        return EmulatedDevice(request.getfixturevalue("emulator"))
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return current_device("test()")
