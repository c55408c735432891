"""What tests of several studies ask for."""

import pytest
import torch


@pytest.fixture
def single_precision():
    """float32, in which studies run, in place of the suite's float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    yield
    torch.set_default_dtype(before)
