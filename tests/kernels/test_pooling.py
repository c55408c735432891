"""Pooling of packed maps: torch's pooling of the signs, the reference, and the library agree."""

import pytest
import torch
from torch.nn import functional

from bayes_sbn.kernels import (
    integer_linear,
    loader,
    max_pool2d,
    pack,
    sum_pool2d,
    unpack,
    xnor_conv2d,
)
from bayes_sbn.kernels.native import pooling as native
from bayes_sbn.kernels.native.windows import Maps, Window
from bayes_sbn.kernels.reference import pooling as reference
from tests.kernels.conftest import ran_by
from tests.kernels.map_cases import WINDOWS
from tests.kernels.packing_cases import poisoned, signs
from tests.kernels.test_operators import BACKENDS, _backend

__all__ = ["_backend"]  # a fixture

NAMES = ("max_pool2d", "sum_pool2d")


def case(window):
    """±1 maps, and the arguments of the operators."""
    batch, space, channels, *moves = window
    x = signs((batch, *space, channels))
    x[:, : space[0] // 2] = torch.where(signs(x[:, : space[0] // 2].shape, 1) > 0, x[:, :1], -1)
    return x, (channels, *([*sizes] for sizes in moves))


@pytest.mark.native
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_the_library_gives_the_reference(forced_library, window, name):
    x, options = case(window)
    words = pack(x).data
    wanted = getattr(reference, name)(words, *options)
    poison = poisoned(words, x.shape[-1])
    assert torch.equal(getattr(reference, name)(poison, *options), wanted)
    strided = torch.stack([poison, words], -1)[..., 0]
    for given in (words, poison, strided):
        for threads in (1, 3, 8):
            found = getattr(native, name)(forced_library, given, *options, threads)
            assert found.dtype == wanted.dtype
            assert torch.equal(found, wanted)


@pytest.mark.parametrize("window", WINDOWS[:-1], ids=str)
@pytest.mark.usefixtures("_backend")
def test_pooling_is_that_of_torch(window):
    x, (_, kernel, stride, padding) = case(window)
    maps = x.permute(0, 3, 1, 2).double()
    largest = max_pool2d(pack(x), tuple(kernel), stride, tuple(padding))
    wanted = functional.max_pool2d(maps, kernel, stride, padding).permute(0, 2, 3, 1)
    assert torch.equal(unpack(largest, torch.float64), wanted)
    assert torch.equal(largest.data, pack(wanted).data)  # padding bits are 0
    sums = sum_pool2d(pack(x), kernel, tuple(stride), padding)
    average = functional.avg_pool2d(maps, kernel, stride, padding).permute(0, 2, 3, 1)
    assert sums.dtype == torch.int16
    torch.testing.assert_close(sums.double() / (kernel[0] * kernel[1]), average, rtol=0, atol=1e-14)


@pytest.mark.native
def test_the_largest_sums_are_held(forced_library):
    options = (33, [217, 151], [1, 1], [0, 0])  # 32767 cells
    words = torch.full((1, 217, 151, 2), -1, dtype=torch.int32)
    for value, word in ((1, -1), (-1, 0)):
        sums = native.sum_pool2d(forced_library, words.fill_(word), *options)
        assert sums.shape == (1, 1, 1, 33)
        assert (sums == value * 32767).all()
    with pytest.raises(RuntimeError, match="windows of 217 x 152 cells, whose sums have 16 bits"):
        native.sum_pool2d(forced_library, words.mT, 151, [217, 152], [1, 1], [0, 76])


@pytest.mark.usefixtures("_backend")
def test_a_binary_network_with_average_pooling_is_exact():
    """Convolution, sign, sums over windows, and a dense layer that reads them as integers."""
    x, w = signs((3, 33, 8, 6)), signs((20, 33, 3, 3), seed=1)
    last = signs((5, 20 * 4 * 3), seed=2)
    dots = xnor_conv2d(pack(x.permute(0, 2, 3, 1)), pack(w.permute(0, 2, 3, 1)), padding=1)
    h = torch.where(dots > 0, 1, -1).to(torch.int8)
    sums = sum_pool2d(pack(h), 2)
    logits = integer_linear(sums.flatten(1), pack(last))

    real = functional.conv2d(x.double(), w.double(), padding=1)
    real = functional.avg_pool2d(torch.where(real > 0, 1.0, -1.0).double(), 2)
    wanted = real.permute(0, 2, 3, 1).flatten(1) @ last.double().T
    assert torch.equal(logits.double() / 4, wanted)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_operators_pass_opcheck(name, backend, request, monkeypatch):
    if backend == "native":
        request.getfixturevalue("library")
    monkeypatch.setenv("BAYES_SBN_BACKEND", backend)
    x, options = case(WINDOWS[2])
    operator = getattr(torch.ops.bayes_sbn, name).default
    results = torch.library.opcheck(operator, (pack(x).data, *options))
    assert set(results.values()) == {"SUCCESS"}


@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.usefixtures("_backend")
def test_pooling_passes_through_compile_without_a_break(dynamic):
    def pooled(x: torch.Tensor) -> torch.Tensor:
        return sum_pool2d(max_pool2d(pack(x), 3, 1, 1), (2, 1)) * 2

    torch._dynamo.reset()
    compiled = torch.compile(pooled, fullgraph=True, backend="eager", dynamic=dynamic)
    for shape in [(2, 6, 5, 40), (3, 6, 5, 40), (3, 4, 8, 33)]:
        x = signs(shape).double()
        assert torch.equal(compiled(x), pooled(x))


@pytest.mark.usefixtures("_backend")
def test_what_requires_a_gradient_is_refused_before_it_is_packed():
    x = torch.ones(1, 2, 2, 3, requires_grad=True)
    for pool in (max_pool2d, sum_pool2d):
        with pytest.raises(RuntimeError, match=r"pack\(\) has no gradient.*x\.detach\(\)"):
            pool(pack(x), 2)
    assert sum_pool2d(pack(x.detach()), 2).flatten().tolist() == [4, 4, 4]


@pytest.mark.parametrize("pool", [max_pool2d, sum_pool2d])
def test_errors_say_what_came_and_what_to_write(pool):
    x = pack(signs((2, 4, 5, 12)))
    for maps, kernel, more, words in (
        (signs((2, 4, 5, 12)), 2, {}, r"x is Tensor; it must be PackedBits.*pack\(x\.permute"),
        (pack(signs((4, 5, 12))), 2, {}, r"x has shape \(4, 5, 12\).*pack\(x\.permute"),
        (x, 0, {}, r"kernel_size is 0; it must be an integer of at least 1"),
        (x, (2, 2, 2), {}, r"kernel_size is \(2, 2, 2\)"),
        (x, 2, {"stride": 0}, r"stride is 0.*Write stride=1"),
        (x, 2, {"padding": 2}, r"size \(2, 2\) with padding \(2, 2\).*at most half.*smaller"),
        (x, 5, {}, r"size \(5, 5\) with padding \(0, 0\) do not fit a map of size \(4, 5\)"),
    ):
        call = rf"^{pool.__name__}\(x\): .*"
        with pytest.raises((TypeError, ValueError), match=call + words):
            pool(maps, kernel, **more)


def test_sums_that_16_bits_do_not_hold_are_refused():
    x = pack(torch.ones(1, 182, 182, 1))
    with pytest.raises(ValueError, match=r"windows of size \(182, 182\).* than 32767 cells"):
        sum_pool2d(x, 182)
    assert sum_pool2d(x, 181, 1).unique().tolist() == [181 * 181]


def small_call(name):
    """A call of the library, and its result."""
    x = pack(signs((2, 4, 6, 40))).data
    is_sum = name == "sum_pool2d"
    result = torch.zeros(2, 2, 3, 40 if is_sum else 2, dtype=torch.int16 if is_sum else torch.int32)
    maps, window = Maps.of(x, 40), Window.of((2, 2), (2, 2), (1, 1), (0, 0), (2, 3))
    if is_sum:
        arguments = native.SumPool2dArguments(maps, window, result.data_ptr(), 1, -1)
    else:
        arguments = native.MaxPool2dArguments(maps, window, result.data_ptr(), 1, -1)
    return arguments, result, x


@pytest.mark.native
@pytest.mark.parametrize("name", NAMES)
def test_the_library_says_what_ran(forced_library, name):
    arguments, result, x = small_call(name)
    forced_library.run(f"bsbn_{name}", arguments)
    assert loader.ISAS[arguments.ran_isa] == ran_by(forced_library)
    assert torch.equal(result, getattr(reference, name)(x, 40, [2, 2], [2, 2], [0, 0]))


@pytest.mark.native
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("part", "field", "value", "words"),
    [
        ("maps", "batch", -1, "-1 maps"),
        ("maps", "channels", 0, "0 channels"),
        ("maps", "words", None, "a null pointer"),
        ("window", "height", 0, "window of 0 x 2"),
        ("window", "stride_width", 0, "strides 2, 0"),
        ("window", "left", -1, "padding 0, -1"),
        ("window", "out_height", 0, "for 0 x 3 outputs"),
        (None, "num_threads", 0, "0 threads"),
        (None, "result", None, "a null pointer"),
    ],
)
def test_arguments_are_checked(library, name, part, field, value, words):
    arguments, result, _ = small_call(name)
    if field == "result":
        field = "sums" if name == "sum_pool2d" else "words"
    setattr(arguments if part is None else getattr(arguments, part), field, value)
    with pytest.raises(RuntimeError, match=f"bsbn_{name}: .*{words}"):
        library.run(f"bsbn_{name}", arguments)
    assert not result.any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_other_devices_have_the_same_result(name):
    for window in WINDOWS:
        x, options = case(window)
        words = pack(x).data
        found = getattr(torch.ops.bayes_sbn, name).default(words.cuda(), *options)
        assert torch.equal(found.cpu(), getattr(reference, name)(words, *options))
