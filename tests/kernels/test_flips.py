"""flip_sums: the definition against literal flips, the compiled code against it, on every path."""

import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bayes_sbn.kernels import loader
from bayes_sbn.kernels.flips import flip_sums
from bayes_sbn.kernels.native import flips as native
from bayes_sbn.kernels.reference import flips as reference
from tests import oracle_noise
from tests.kernels.conftest import ran_by
from tests.kernels.flip_cases import (
    COMPILED,
    EMPTY,
    SIZES,
    arguments,
    exact_logistic_flip,
    literal,
)


@pytest.mark.parametrize("noise", oracle_noise.NOISES)
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("size", SIZES[:4])
def test_reference_equals_literal_flips(noise, scaled, size, monkeypatch):
    given = arguments(size, scaled=scaled)
    wanted, _ = literal(*given, noise)
    for flips_per_block in (1, 2 * size[0] * size[2] * size[3], 1 << 22):
        monkeypatch.setattr(reference, "FLIPS_PER_BLOCK", flips_per_block)
        found = reference.flip_sums(*given, noise)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.native
@pytest.mark.parametrize("noise", COMPILED)
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_native_equals_literal_flips(forced_library, noise, scaled, shared, size):
    given = arguments(size, scaled=scaled, shared=shared)
    wanted, _ = literal(*given, noise)
    found = native.flip_sums(forced_library, *given, noise)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    assert size == SIZES[0] or wanted.abs().max() > 1e-2


@pytest.mark.native
@pytest.mark.parametrize("noise", COMPILED)
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_native_in_float32_is_as_exact_as_stated(forced_library, noise, scaled, size):
    given = arguments(size, scaled=scaled, dtype=torch.float32)
    wanted, magnitude = literal(*given, noise)
    found = native.flip_sums(forced_library, *given, noise)
    assert found.dtype == torch.float32
    # the other states of these laws are known to half an ulp of a number of size |a| + 2 |c|
    rounding = 0.0 if noise == "logistic" else 1e-6 * given[1].abs().sum(-1, keepdim=True).double()
    assert ((found.double() - wanted).abs() <= 1e-6 * magnitude + rounding + 1e-30).all()


@pytest.mark.native
@pytest.mark.parametrize("scale", [1.0, -0.5])
@pytest.mark.parametrize(
    ("dtype", "relative", "absolute"), [(torch.float64, 1e-12, 0.0), (torch.float32, 1e-5, 1e-9)]
)
def test_logistic_flips_are_exact_for_extreme_values(
    forced_library, dtype, relative, absolute, scale
):
    values = [-100.0, -88.0, -40.0, -3.0, -1e-3, 0.0, 1e-6, 0.5, 16.0, 62.0, 87.0, 100.0]
    steps = [-50.0, -31.0, -8.0, -0.25, -1e-8, 1e-20, 1e-3, 1.0, 20.0, 31.9, 50.0]
    for a in values:
        for c in steps:
            for x in (-1.0, 1.0):
                given = [torch.tensor(v, dtype=dtype).reshape(1, 1, 1) for v in (a, 1.0, c, x)]
                given.append(torch.full((1, 1), scale, dtype=dtype))
                found = native.flip_sums(forced_library, *given, "logistic").item()
                wanted = exact_logistic_flip(a, scale * float(given[2]), x)
                assert math.isclose(found, wanted, rel_tol=relative, abs_tol=absolute), (a, c, x)


@pytest.mark.native
@pytest.mark.parametrize("noise", COMPILED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_of_zero_add_nothing(forced_library, noise, dtype):
    a, g, c, x, scale = arguments((2, 3, 5, 7), dtype=dtype)
    c[:, 2:] = 0.0
    c[:, 3] = -0.0
    found = native.flip_sums(forced_library, a, g, c, x, scale, noise)
    shorter = [t.contiguous() for t in (a[..., :2], g[..., :2], c[:, :2])]
    wanted = native.flip_sums(forced_library, *shorter, x, scale, noise)
    torch.testing.assert_close(
        found, wanted, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-14
    )


@pytest.mark.native
@pytest.mark.parametrize("noise", COMPILED)
@pytest.mark.parametrize("scaled", [False, True])
def test_values_out_of_range_go_to_the_reference(forced_library, noise, scaled):
    given = arguments((1, 2, 3, 4), scaled=scaled)
    for index in range(4):
        changed = [t.clone() for t in given]
        changed[index].view(-1)[0] = math.nan
        sums = native.flip_sums(forced_library, *changed, noise)
        affected = reference.flip_sums(*changed, noise).isnan()
        assert affected.any()
        assert torch.equal(sums.isnan(), affected), index
    large = [t.clone() for t in given]
    large[2].view(-1)[0] = math.inf
    assert not native.is_compiled(large[2], large[4], noise)


@pytest.mark.native
def test_what_is_compiled():
    steps = torch.full((1, 1, 1), 31.0, dtype=torch.float32)
    one = torch.ones(1, 1, dtype=torch.float32)
    assert native.is_compiled(steps, one, "logistic")
    assert not native.is_compiled(steps + 2, one, "logistic")
    assert not native.is_compiled(steps, 2 * one, "logistic")
    assert native.is_compiled(2 * steps.double(), one.double(), "logistic")
    assert native.is_compiled(100 * steps, one, "uniform")
    assert native.is_compiled(100 * steps, one, "gaussian")
    assert not native.is_compiled(steps.half(), one.half(), "logistic")


@pytest.mark.native
def test_empty_sums(forced_library):
    for size in EMPTY:
        given = arguments(size)
        for noise in COMPILED:
            found = native.flip_sums(forced_library, *given, noise)
            assert torch.equal(found, torch.zeros_like(given[3]))
            assert torch.equal(found, reference.flip_sums(*given, noise))


@pytest.mark.native
@pytest.mark.parametrize("scaled", [False, True])
def test_native_does_not_depend_on_the_number_of_threads(library, scaled):
    given = arguments((3, 40, 64, 200), scaled=scaled)
    one = native.flip_sums(library, *given, "logistic", num_threads=1)
    for num_threads in (2, 3, 8):
        found = native.flip_sums(library, *given, "logistic", num_threads=num_threads)
        assert torch.equal(found, one)


@pytest.mark.native
def test_native_runs_on_the_forced_instruction_set(forced_library, monkeypatch):
    ran = []
    run = loader.NativeLibrary.run

    def recorded(self, function, struct, accept=()):
        status = run(self, function, struct, accept)
        ran.append((function, loader.ISAS[struct.ran_isa], struct.law))
        return status

    monkeypatch.setattr(loader.NativeLibrary, "run", recorded)
    for noise in COMPILED:
        for scaled in (False, True):
            native.flip_sums(forced_library, *arguments((1, 2, 3, 4), scaled=scaled), noise)
    laws = [0, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert ran == [("bsbn_flip_sums", ran_by(forced_library), law) for law in laws]


@pytest.fixture(params=["reference", pytest.param("native", marks=pytest.mark.native)])
def _backend(request, monkeypatch):
    if request.param == "native":
        request.getfixturevalue("library")
    monkeypatch.setenv("BAYES_SBN_BACKEND", request.param)


@pytest.mark.parametrize(
    ("of_a", "of_c", "of_x"),
    [
        ((), (), ()),
        ((3,), (), ()),
        ((), (3,), ()),
        ((), (), (3,)),
        ((2, 1), (3,), (2, 3)),
        ((2, 3), (1, 1), (3,)),
    ],
)
@pytest.mark.parametrize("noise", ["logistic", "gaussian"])
@pytest.mark.usefixtures("_backend")
def test_leading_dims_broadcast(of_a, of_c, of_x, noise):
    torch.manual_seed(0)
    rows, terms, columns = 4, 5, 6
    a, g = torch.randn(*of_a, rows, terms), torch.randn(*of_a, rows, terms)
    c, scale = torch.randn(*of_c, terms, columns), torch.randn(*of_x, rows)
    x = torch.where(torch.randn(*of_x, rows, columns) < 0, -1.0, 1.0)
    found = flip_sums(a, g, c, x, scale=scale, noise=noise)
    batch = torch.broadcast_shapes(of_a, of_c, of_x)
    assert found.shape == (*batch, rows, columns)
    full = [t.expand(*batch, *t.shape[-2:]) for t in (a, g, c, x)]
    scale = scale.expand(*batch, rows)
    for place in np.ndindex(*batch):
        one = [t[place].unsqueeze(0) for t in full]
        wanted, _ = literal(*one, scale[place].unsqueeze(0), noise)
        torch.testing.assert_close(found[place], wanted[0], rtol=0, atol=1e-12)


@pytest.mark.usefixtures("_backend")
def test_views_are_taken():
    a, g, c, x, scale = arguments((1, 5, 5, 5))
    wanted, _ = literal(a.mT, g.mT, c.mT, x.mT, scale, "logistic")
    found = flip_sums(a[0].mT, g[0].mT, c[0].mT, x[0].mT)
    torch.testing.assert_close(found, wanted[0], rtol=0, atol=1e-12)


def test_arguments_that_do_not_fit_are_refused():
    a, c, x = torch.zeros(2, 3), torch.zeros(3, 4), torch.ones(2, 4)
    assert flip_sums(a, a, c, x).shape == (2, 4)
    for wrong in [
        (a, a[:1], c, x),
        (a, a, c.mT, x),
        (a, a, c, x[:1]),
        (a[0], a[0], c, x),
        (a.expand(2, 2, 3), a.expand(2, 2, 3), c.expand(3, 3, 4), x),
    ]:
        with pytest.raises(ValueError, match=r"flip_sums\(\) received a \(.*for one row\."):
            flip_sums(*wrong)
    for size in ((3,), (3, 2)):
        with pytest.raises(ValueError, match=rf"scale \({size[0]},.*\)"):
            flip_sums(a.expand(2, 2, 3), a.expand(2, 2, 3), c, x, scale=torch.ones(size))
    with pytest.raises(TypeError, match=r"x torch.float32, .* Write x\.to\(a\.dtype\)"):
        flip_sums(a, a, c, x.float())
    with pytest.raises(ValueError, match=r"noise='cauchy'\): the noise must be one of 'logistic'"):
        flip_sums(a, a, c, x, noise="cauchy")
    with pytest.raises(RuntimeError, match=r"flip_sums\(\) has no gradient.*detached"):
        flip_sums(a.requires_grad_(), a, c, x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.usefixtures("_backend")
def test_operator_passes_opcheck(dtype):
    operator = torch.ops.bayes_sbn.flip_sums.default
    for noise in ("logistic", "laplace", "gaussian"):
        given = (*arguments((2, 3, 4, 5), dtype=dtype), noise)
        assert set(torch.library.opcheck(operator, given).values()) == {"SUCCESS"}


@pytest.mark.usefixtures("_backend")
def test_operator_passes_through_compile_without_a_break():
    torch._dynamo.reset()
    a, g, c, x, scale = arguments((2, 3, 4, 5))
    compiled = torch.compile(flip_sums, fullgraph=True, backend="eager")
    found = compiled(a, g, c, x, scale=scale[0])
    assert torch.equal(found, flip_sums(a, g, c, x, scale=scale[0]))
    assert flip_sums(*(t.to("meta") for t in (a, g, c, x))).shape == x.shape


class LargestResult(TorchDispatchMode):
    """Records how many entries the largest result of any operation of torch has."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numel = max(self.numel, result.numel())
        return result


@pytest.mark.native
def test_memory_is_linear_in_arguments_and_result(library):
    for noise in COMPILED:
        for scaled in (False, True):
            given = arguments((1, 16, 24, 32), scaled=scaled)
            with LargestResult() as largest:
                native.flip_sums(library, *given, noise)
            assert largest.numel <= 24 * 32
    with LargestResult() as largest:  # the same measure sees the reference's block
        reference.flip_sums(*arguments((1, 16, 24, 32)), "logistic")
    assert largest.numel == 16 * 24 * 32


@pytest.mark.native
def test_library_explains_arguments_that_it_refuses(library):
    data = torch.ones(1, dtype=torch.float64)
    pointers = ("steps", "left", "right", "gain", "scale", "signs", "sums")
    sizes = ("batch", "step_batch", "rows", "terms", "columns", "num_threads", "value_type")
    good = dict.fromkeys(pointers, data.data_ptr()) | dict.fromkeys(sizes, 1)
    library.run("bsbn_flip_sums", native.FlipSumsArguments(**good))
    for change, message in [
        ({"rows": -1}, "a size is negative"),
        ({"num_threads": 0}, "num_threads is 0; at least 1 is needed"),
        ({"gain": None}, "a null pointer for data that is not empty"),
        ({"sums": None, "terms": 0}, "a null pointer for data that is not empty"),
        ({"value_type": 2}, "no type of numbers has the code 2"),
        ({"law": 6}, "no law has the code 6"),
        ({"step_batch": 2}, "2 matrices of steps for a batch of 1; 1 or as many are needed"),
    ]:
        with pytest.raises(RuntimeError, match=f"bsbn_flip_sums: {message}"):
            library.run("bsbn_flip_sums", native.FlipSumsArguments(**{**good, **change}))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_flip_sums_on_cuda_equal_cpu():
    a, g, c, x, scale = arguments((2, 3, 4, 5))
    found = flip_sums(*(t.cuda() for t in (a, g, c, x)), scale=scale[0].cuda())
    torch.testing.assert_close(found.cpu(), flip_sums(a, g, c, x, scale=scale[0]))
