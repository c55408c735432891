"""The C functions of one layer alone: arguments are checked before memory is touched."""

import ctypes

import pytest
import torch

from bayes_sbn.kernels import loader
from bayes_sbn.kernels.native import fused_linear as native
from bayes_sbn.kernels.native.ensemble import LayerArguments
from tests.kernels.fused_cases import by_library, calls, case, random_words

pytestmark = pytest.mark.native

LINEAR = {
    "bsbn_stochastic_linear": native.StochasticLinearArguments,
    "bsbn_sign_linear": native.SignLinearArguments,
    "bsbn_linear_logits": native.LinearLogitsArguments,
}


def layer_call(name, changes):
    """Arguments of a small call, some of them changed, its result, and what must be kept."""
    x, w = random_words("call/x", 2, 40), random_words("call/w", 3, 40)
    numbers = torch.ones(3, dtype=torch.float64)
    result = torch.zeros(2, 3, dtype=torch.float64)
    of_layer = {n[6:]: v for n, v in changes.items() if n.startswith("layer_")}
    layer = LayerArguments(
        **{
            "words": w.data_ptr(),
            "scale": numbers.data_ptr(),
            "bias": numbers.data_ptr(),
            "units": 3,
            "inputs": 40,
            "noise_scale": 1.0,
        }
        | of_layer
    )
    options = {
        "layer": ctypes.addressof(layer),
        "rows": x.data_ptr(),
        "logits" if "logits" in name else "words": result.data_ptr(),
        "num_rows": 2,
        "num_threads": 1,
    }
    own = {n: v for n, v in changes.items() if not n.startswith("layer_")}
    if "result" in own:
        own = {"logits" if "logits" in name else "words": own["result"]}
    return LINEAR[name](**options | own), result, (x, w, numbers, layer)


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_rows": -1}, "-1 rows"),
        ({"layer_units": -1}, "-1 units"),
        ({"layer_inputs": -1}, "-1 inputs"),
        ({"layer_inputs": 2**31}, "2147483648 inputs"),
        ({"num_threads": 0}, "0 threads"),
        ({"rows": None}, "a null pointer"),
        ({"result": None}, "a null pointer"),
        ({"layer": None}, "no layer"),
        ({"layer_words": None}, "a null pointer"),
        ({"layer_scale": None}, "a null pointer"),
        ({"layer_bias": None}, "a null pointer"),
    ],
)
def test_arguments_are_checked_before_memory_is_touched(library, name, changes, words):
    struct, result, kept = layer_call(name, changes)
    with pytest.raises(RuntimeError, match=f"{name}: .*{words}"):
        library.run(name, struct)
    assert not result.any()
    del kept


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"draw": -1}, "draw -1"),
        ({"draw": 2**32}, "draw 4294967296"),
        ({"layer_site": 65_536}, "site 65536"),
        ({"first_row": -1}, "2 rows from -1"),
        ({"first_row": 2**32 - 1}, "2 rows from 4294967295"),
        ({"layer_law": 1}, "law 1"),
        ({"layer_law": 6}, "law 6"),
        ({"layer_noise_scale": 0.0}, "of scale 0"),
        ({"layer_noise_scale": float("nan")}, "of scale nan"),
        ({"layer_words": None, "layer_hot": 1}, "a null pointer"),
    ],
)
def test_arguments_of_draws_are_checked(library, changes, words):
    struct, result, kept = layer_call("bsbn_stochastic_linear", changes)
    with pytest.raises(RuntimeError, match=f"bsbn_stochastic_linear: .*{words}"):
        library.run("bsbn_stochastic_linear", struct)
    assert not result.any()
    del kept


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_rows": -1}, "-1 rows"),
        ({"units": -1}, "-1 units"),
        ({"inputs": -1}, "-1 inputs"),
        ({"num_threads": 0}, "0 threads"),
        ({"numbers": None}, "a null pointer"),
        ({"weights": None}, "a null pointer"),
        ({"dots": None}, "a null pointer"),
    ],
)
def test_arguments_of_integer_products_are_checked(library, changes, words):
    x, w = torch.ones(2, 40, dtype=torch.int16), random_words("call/w", 3, 40)
    dots = torch.zeros(2, 3, dtype=torch.int64)
    options = {"numbers": x.data_ptr(), "weights": w.data_ptr(), "dots": dots.data_ptr()}
    options |= {"num_rows": 2, "units": 3, "inputs": 40, "num_threads": 1}
    with pytest.raises(RuntimeError, match=f"bsbn_integer_linear: .*{words}"):
        library.run("bsbn_integer_linear", native.IntegerLinearArguments(**options | changes))
    assert not dots.any()


def test_memory_that_is_not_there_is_an_error(library, monkeypatch):
    monkeypatch.setattr(loader.NativeLibrary, "run", lambda *_, **__: loader.STATUS_OUT_OF_MEMORY)
    name, arguments = next(calls(case((2, 31, 3)), "packed"))
    with pytest.raises(MemoryError):
        by_library(library, name, arguments)


def test_the_code_that_runs_is_that_of_the_instruction_set(forced_library):
    for name in LINEAR:
        struct, _, kept = layer_call(name, {})
        forced_library.run(name, struct)
        assert loader.ISAS[struct.ran_isa] == forced_library.isa
        del kept
