"""pack, unpack, popcount: the definition against plain integers, the compiled against it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bayes_sbn.bits import PackedBits, num_words
from bayes_sbn.kernels import loader, pack, popcount, unpack
from bayes_sbn.kernels.native import packing as native
from bayes_sbn.kernels.packing import VALUE_DTYPES
from bayes_sbn.kernels.reference import packing as reference
from tests.kernels.conftest import ran_by
from tests.kernels.packing_cases import (
    LEADING,
    LENGTHS,
    NATIVE_DTYPES,
    OTHER_DTYPES,
    as_dtype,
    packed_by_hand,
    poisoned,
    signs,
)


def test_pack_puts_values_where_the_convention_says():
    x = -torch.ones(40)
    x[0] = x[31] = x[33] = 1
    assert pack(x).data.tolist() == [1 - 2**31, 2]
    assert pack(torch.ones(40)).data.tolist() == [-1, 255]
    assert pack(torch.tensor([[1.0, -1.0], [-1.0, 1.0]])).data.tolist() == [[1], [2]]


@pytest.mark.parametrize("length", LENGTHS)
def test_reference_equals_plain_integers(length):
    for leading in LEADING:
        x = signs((*leading, length), seed=length)
        words = packed_by_hand(x)
        assert torch.equal(reference.pack(x), words)
        for given_words in (words, poisoned(words, length)):
            assert torch.equal(reference.unpack(given_words, length, torch.int8), x)
            assert torch.equal(reference.popcount(given_words, length), (x == 1).sum(-1))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", NATIVE_DTYPES)
@pytest.mark.native
def test_native_equals_reference(forced_library, length, dtype):
    for leading in LEADING:
        x = as_dtype(signs((*leading, length), seed=length), dtype)
        words = reference.pack(x)
        assert torch.equal(native.pack(forced_library, x), words)
        for given_words in (words, poisoned(words, length)):
            values = native.unpack(forced_library, given_words, length, dtype)
            assert values.dtype == dtype
            assert torch.equal(values, x)
            counts = native.popcount(forced_library, given_words, length)
            assert torch.equal(counts, reference.popcount(words, length))


@pytest.mark.parametrize("dtype", OTHER_DTYPES)
@pytest.mark.native
def test_native_takes_every_dtype_that_holds_signs(library, dtype):
    x = as_dtype(signs((3, 77)), dtype)
    assert torch.equal(native.pack(library, x), reference.pack(x))
    values = native.unpack(library, reference.pack(x), 77, dtype)
    assert values.dtype == dtype
    assert torch.equal(values, x)


@pytest.mark.native
def test_native_runs_on_the_forced_instruction_set(forced_library):
    x, words = signs((2, 40)), torch.zeros(2, 2, dtype=torch.int32)
    counts = torch.zeros(2, dtype=torch.int64)
    sizes = {"rows": 2, "length": 40, "num_threads": 1, "ran_isa": -1}
    calls = {
        "bsbn_pack": native.PackArguments(
            values=x.data_ptr(), words=words.data_ptr(), value_type=2, **sizes
        ),
        "bsbn_unpack": native.UnpackArguments(
            words=words.data_ptr(), values=x.data_ptr(), value_type=2, **sizes
        ),
        "bsbn_popcount": native.PopcountArguments(
            words=words.data_ptr(), counts=counts.data_ptr(), **sizes
        ),
    }
    for function, arguments in calls.items():
        forced_library.run(function, arguments)
        assert loader.ISAS[arguments.ran_isa] == ran_by(forced_library), function


@pytest.fixture(scope="module")
def many_rows() -> torch.Tensor:
    """So many that each of eight threads gets its share (2**21 values are the least of one)."""
    return signs((2**16 + 3, 8 * 33))


@pytest.mark.native
def test_native_does_not_depend_on_the_number_of_threads(library, many_rows):
    x, length = many_rows, many_rows.shape[-1]
    words = native.pack(library, x, num_threads=1)
    counts = (x == 1).sum(-1)
    assert torch.equal(native.popcount(library, words, length, num_threads=1), counts)
    for num_threads in range(2, 9):
        assert torch.equal(native.pack(library, x, num_threads=num_threads), words)
        back = native.unpack(library, words, length, torch.int8, num_threads=num_threads)
        assert torch.equal(back, x)
        # popcount reads words, of which 32 times as many make a share.
        assert torch.equal(
            native.popcount(library, words.repeat(32, 1), length, num_threads=num_threads),
            counts.repeat(32),
        )


@pytest.mark.native
def test_native_finds_a_wrong_value_in_any_thread(library, many_rows):
    for row in (0, 5000, 2**15, 2**16 + 2):
        x = many_rows.clone()
        x[row, -1] = 3
        with pytest.raises(ValueError, match=rf"received 3 at index \({row}, {x.shape[-1] - 1}\)"):
            native.pack(library, x, num_threads=8)


@pytest.mark.parametrize("view", ["transposed", "offset", "strided", "expanded", "reversed rows"])
def test_pack_takes_views(view):
    base = signs((70, 70)).to(torch.float32)
    x = {
        "transposed": base.T,
        "offset": base[3:, 5:],
        "strided": base[::2, ::3],
        "expanded": base[0].expand(4, 70),
        "reversed rows": base.flip(0),
    }[view]
    bits = pack(x)
    assert torch.equal(bits.data, packed_by_hand(x))
    words = bits.data.T.contiguous().T  # the words themselves may be a view too
    assert torch.equal(unpack(PackedBits(words, x.shape[-1])), x)
    assert torch.equal(popcount(PackedBits(words, x.shape[-1])), (x == 1).sum(-1))


@settings(max_examples=60, deadline=None, database=None)
@given(st.integers(0, 300), st.integers(0, 4), st.integers(0, 2**31), st.sampled_from(VALUE_DTYPES))
def test_unpack_undoes_pack(length, rows, seed, dtype):
    x = as_dtype(signs((rows, length), seed), dtype)
    bits = pack(x)
    assert bits.shape == x.shape
    assert bits.data.shape == (rows, num_words(length))
    assert torch.equal(unpack(bits, dtype), x)
    assert torch.equal(popcount(bits), (unpack(bits) == 1).sum(-1))


def test_unpack_gives_float32_unless_told():
    assert unpack(pack(torch.ones(3, dtype=torch.float64))).dtype == torch.float32


WRONG = [0.0, -0.0, 0.5, 2.0, float("nan"), float("-inf"), 1 + 2**-23, -1 + 2**-24, 1e-45]


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reference_refuses_what_is_not_a_sign(dtype, wrong):
    for position in range(70):
        x = signs((3, 70)).to(dtype)
        x[1, position] = wrong
        with pytest.raises(ValueError, match=rf"pack\(\) needs ±1.*at index \(1, {position}\)"):
            reference.pack(x)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.native
def test_native_refuses_what_is_not_a_sign(forced_library, dtype, wrong):
    for position in range(70):
        x = signs((3, 70)).to(dtype)
        x[1, position] = wrong
        with pytest.raises(ValueError, match=rf"pack\(\) needs ±1.*at index \(1, {position}\)"):
            native.pack(forced_library, x)


@pytest.mark.native
def test_native_accepts_only_two_of_all_int8_values(forced_library):
    for value in range(-128, 128):
        for position in (0, 13, 31, 40):
            x = torch.ones(1, 50, dtype=torch.int8)
            x[0, position] = value
            if value in (-1, 1):
                assert torch.equal(native.pack(forced_library, x), reference.pack(x))
            else:
                with pytest.raises(ValueError, match=r"needs ±1 values"):
                    native.pack(forced_library, x)


@pytest.mark.parametrize("backend", ["reference", "native"])
def test_pack_refuses_with_the_same_words_on_every_backend(monkeypatch, request, backend):
    if backend == "native":
        request.getfixturevalue("library")
    monkeypatch.setenv("BAYES_SBN_BACKEND", backend)
    with pytest.raises(ValueError, match=r"in \{0, 1\}\. Map them with 2 \* x - 1\."):
        pack(torch.tensor([[0.0, 1.0]]))
    with pytest.raises(ValueError, match=r"received 257 at index \(1,\)\. Take signs first"):
        pack(torch.tensor([1, 257]))  # as int8 it would wrap to 1
    with pytest.raises(ValueError, match=r"received 255 at index \(0,\)"):
        pack(torch.tensor([255, 1], dtype=torch.uint8).to(torch.int16))


def test_pack_refuses_shapes_and_dtypes_with_advice():
    with pytest.raises(ValueError, match=r"received a scalar\. Write pack\(x\[None\]\)"):
        pack(torch.tensor(1.0))
    with pytest.raises(
        TypeError, match=r"pack\(\) received dtype torch\.uint8, which cannot be ±1"
    ):
        pack(torch.ones(2, dtype=torch.uint8))
    with pytest.raises(TypeError, match=r"pack\(\) received dtype torch\.complex64"):
        pack(torch.ones(2, dtype=torch.complex64))
    with pytest.raises(TypeError, match=r"unpack\(\) received dtype torch\.uint8"):
        unpack(pack(torch.ones(2)), torch.uint8)


@pytest.mark.native
def test_library_explains_arguments_that_it_refuses(library):
    words = torch.zeros(1, dtype=torch.int32)
    good = {"values": words.data_ptr(), "words": words.data_ptr(), "rows": 1, "length": 1}
    for change, message in [
        ({"rows": -1}, "bsbn_pack: -1 rows of length 1; neither may be negative"),
        ({"num_threads": 0}, "bsbn_pack: num_threads is 0; at least 1 is needed"),
        ({"values": None}, "bsbn_pack: a null pointer for data that is not empty"),
        ({"value_type": 9}, "bsbn_pack: no type of values has the code 9"),
    ]:
        arguments = native.PackArguments(**{**good, "num_threads": 1, "value_type": 3, **change})
        with pytest.raises(RuntimeError, match=message):
            library.run("bsbn_pack", arguments)
