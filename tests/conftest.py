"""Every test starts from the same state: float64, one thread, validation on, its own seed.

What a test changes of it is put back afterwards, so that tests may run in any order.
"""

import random
from collections.abc import Iterator

import numpy as np
import pyro
import pytest
import torch

from tests import chance


def pytest_report_header() -> str:
    """State the base of all seeds, to replay a run with free ones."""
    return f"{chance.FREE_SEEDS}: base {chance.base_seed()}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """State how much of the false-alarm budget was spent."""
    if chance.BUDGET.num_assertions:
        terminalreporter.write_line(f"chance: {chance.BUDGET}")


@pytest.fixture(autouse=True)
def _clean_state(request: pytest.FixtureRequest) -> Iterator[None]:
    """Float64, one thread, Pyro validation, an empty param store, seeds from the test's name."""
    dtype, num_threads = torch.get_default_dtype(), torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    grad_enabled = torch.is_grad_enabled()
    # The legacy global generator too: scikit-learn and others still draw from it.
    legacy = np.random.get_state()  # noqa: NPY002
    generators = random.getstate(), torch.get_rng_state()
    settings = pyro.settings.get()

    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    pyro.enable_validation(True)
    pyro.clear_param_store()
    seed = chance.seed(request.node.nodeid)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    yield
    pyro.clear_param_store()
    pyro.settings.set(**settings)
    random.setstate(generators[0])
    np.random.set_state(legacy)  # noqa: NPY002
    torch.set_rng_state(generators[1])
    torch.set_grad_enabled(grad_enabled)
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(num_threads)
    torch.set_default_dtype(dtype)
