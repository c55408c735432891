"""Uniforms from a seed: the compiled library, the reference, and the definition word by word."""

import numpy as np
import pytest
import torch

from bayes_sbn import kernels
from bayes_sbn.kernels import loader
from bayes_sbn.kernels.native import uniforms as native
from bayes_sbn.kernels.reference import uniforms as reference
from bayes_sbn.philox import philox4x32_numpy

SEEDS = (0, 1, -1, 2**63 - 1, -(2**63), 0x0123456789ABCDEF)
LENGTHS = (0, 1, 15, 16, 31, 32, 33, 63, 64, 65, 129, 1000)
DTYPES = (torch.float32, torch.float64)


def by_definition(length: int, dtype: torch.dtype, seed: int) -> np.ndarray:
    """One value after another, from the generator's own words."""
    key = seed % 2**32, (seed % 2**64) >> 32
    per_block = 64 if dtype == torch.float32 else 32
    values = np.empty(length)
    for i in range(length):
        block, place = divmod(i, per_block)
        j, lane = divmod(place, 16)
        counter = 16 * block + lane
        words = [int(w) for w in philox4x32_numpy(counter, 0, 0, 0xFFFFFFFE, *key)]
        if dtype == torch.float32:
            values[i] = (words[j] >> 8) / 2**24
        else:
            values[i] = ((words[2 * j] >> 5) * 2**26 + (words[2 * j + 1] >> 6)) / 2**53
    return values


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_reference_is_the_definition(dtype, seed):
    found = reference.uniforms_like(torch.empty(70, dtype=dtype), seed)
    assert found.dtype == dtype
    assert np.array_equal(found.double().numpy(), by_definition(70, dtype, seed))


@pytest.mark.native
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", LENGTHS)
def test_native_equals_the_reference(forced_library, length, dtype, threads):
    wanted = reference.uniforms_like(torch.empty(length, dtype=dtype), 77)
    found = native.uniforms(forced_library, torch.Size([length]), dtype, 77, threads)
    assert torch.equal(found, wanted)


@pytest.mark.native
@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_do_not_matter(forced_library, dtype):
    shape = torch.Size([600_001])  # more than two threads' worth of blocks
    one = native.uniforms(forced_library, shape, dtype, -5, 1)
    assert torch.equal(native.uniforms(forced_library, shape, dtype, -5, 4), one)
    assert torch.equal(one[-70:], reference.uniforms_like(one, -5)[-70:])


@pytest.mark.native
def test_native_refuses_what_it_cannot_write(library):
    arguments = native.UniformsArguments(value_type=2, length=4, num_threads=1)
    with pytest.raises(RuntimeError, match="float32 or float64, not code 2"):
        library.run("bsbn_uniforms", arguments)
    arguments = native.UniformsArguments(value_type=0, length=4, num_threads=1)
    with pytest.raises(RuntimeError, match="a null pointer"):
        library.run("bsbn_uniforms", arguments)
    arguments = native.UniformsArguments(value_type=0, length=-4, num_threads=1)
    with pytest.raises(RuntimeError, match="-4 values by 1 threads"):
        library.run("bsbn_uniforms", arguments)


def test_shapes_follow_the_tensor():
    x = torch.empty(3, 5, 7)
    values = kernels.uniforms_like(x, 4)
    assert values.shape == x.shape
    assert torch.equal(values.flatten(), kernels.uniforms_like(x.flatten(), 4))
    assert float(values.min()) >= 0
    assert float(values.max()) < 1


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_the_global_generator_decides_and_moves_on(backend, monkeypatch):
    if backend == "native" and kernels.backend_info().backend != "native":
        pytest.skip("the kernel library is not built")
    loader._choose.cache_clear()
    monkeypatch.setenv("BAYES_SBN_BACKEND", backend)
    like, shape = torch.zeros(()), torch.Size([40])
    torch.manual_seed(5)
    first, second = (kernels.draw_uniforms(shape, like) for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(5)
    assert torch.equal(kernels.draw_uniforms(shape, like), first)
    assert kernels.draw_uniforms(shape, like.half()).dtype == torch.half


def test_wrong_use_is_an_error():
    with pytest.raises(TypeError, match=r"uniforms_like\(\) received torch.int64"):
        kernels.uniforms_like(torch.zeros(3, dtype=torch.int64), 0)
    with pytest.raises(ValueError, match=r"a seed lies in \[-2\*\*63, 2\*\*63\)"):
        kernels.uniforms_like(torch.zeros(3), 2**63)
