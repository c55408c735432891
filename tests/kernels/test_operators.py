"""The operators of torch: schemas, fakes, compilation, and the missing gradient."""

import pytest
import torch

from bayes_sbn.kernels import PackedBits, pack, popcount, unpack
from tests.kernels.packing_cases import signs

BACKENDS = ["reference", pytest.param("native", marks=pytest.mark.native)]


@pytest.fixture(params=BACKENDS)
def _backend(request, monkeypatch):
    if request.param == "native":
        request.getfixturevalue("library")
    monkeypatch.setenv("BAYES_SBN_BACKEND", request.param)


def round_trip(x: torch.Tensor) -> torch.Tensor:
    """All three operators, and torch's own between them."""
    bits = pack(torch.where(x < 0, -1.0, 1.0))
    return unpack(bits, torch.float64) * popcount(bits)[..., None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int8, torch.int64])
@pytest.mark.usefixtures("_backend")
def test_operators_pass_opcheck(dtype):
    x = signs((3, 70)).to(dtype)
    words = pack(x).data
    for operator, arguments in [
        (torch.ops.bayes_sbn.pack.default, (x,)),
        (torch.ops.bayes_sbn.unpack.default, (words, 70, dtype)),
        (torch.ops.bayes_sbn.popcount.default, (words, 70)),
    ]:
        results = torch.library.opcheck(operator, arguments)
        assert set(results.values()) == {"SUCCESS"}


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.usefixtures("_backend")
def test_operators_pass_through_compile_without_a_break(dynamic):
    torch._dynamo.reset()
    compiled = torch.compile(round_trip, fullgraph=True, backend="eager", dynamic=dynamic)
    for shape in [(4, 70), (4, 33), (2, 3, 64)]:
        x = signs(shape).to(torch.float64) * 0.3
        assert torch.equal(compiled(x), round_trip(x))


@pytest.mark.usefixtures("_backend")
def test_packed_bits_passes_in_and_out_of_a_compiled_function():
    torch._dynamo.reset()
    x = signs((2, 40)).to(torch.float32)
    bits = torch.compile(pack, fullgraph=True, backend="eager")(x)
    assert isinstance(bits, PackedBits)
    assert torch.equal(bits.data, pack(x).data)
    assert torch.equal(torch.compile(unpack, fullgraph=True, backend="eager")(bits), x)


@pytest.mark.usefixtures("_backend")
def test_pack_refuses_to_be_differentiated():
    x = torch.ones(2, 5, requires_grad=True)
    with pytest.raises(
        RuntimeError, match=r"pack\(\) has no gradient.*Write pack\(x\.detach\(\)\)"
    ):
        pack(x)
    with torch.no_grad():
        assert pack(x).data.tolist() == [[31], [31]]
    assert pack(x.detach()).data.tolist() == [[31], [31]]


def test_fakes_state_shapes_without_data():
    bits = pack(torch.empty(5, 2, 70, device="meta"))
    assert bits.data.shape == (5, 2, 3)
    assert bits.data.dtype == torch.int32
    assert unpack(bits, torch.int8).shape == (5, 2, 70)
    assert popcount(bits).shape == (5, 2)
    assert popcount(bits).dtype == torch.int64


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_operators_on_cuda_equal_cpu():
    x = signs((5, 100)).to(torch.float32)
    bits = pack(x.cuda())
    assert torch.equal(bits.data.cpu(), pack(x).data)
    assert torch.equal(unpack(bits).cpu(), x)
    assert torch.equal(popcount(bits).cpu(), popcount(pack(x)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.native
def test_forced_library_refuses_cuda_tensors(library, monkeypatch):
    monkeypatch.setenv("BAYES_SBN_BACKEND", "native")
    with pytest.raises(RuntimeError, match=r"pack\(\) received a tensor on cuda.*\.cpu\(\)"):
        pack(torch.ones(3, device="cuda"))
