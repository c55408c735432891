"""The convention of packed signs: counts, masks, refusals, and the inner product."""

import pytest
import torch

from bayes_sbn.bits import (
    PackedBits,
    check_signs,
    dot_from_mismatches,
    is_sign,
    last_word_mask,
    num_words,
)


@pytest.mark.parametrize(
    ("length", "expected"), [(0, 0), (1, 1), (31, 1), (32, 1), (33, 2), (64, 2), (65, 3)]
)
def test_num_words_rounds_up(length, expected):
    assert num_words(length) == expected


@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 63, 64, 65, 100])
def test_last_word_mask_covers_exactly_the_values(length):
    mask = last_word_mask(length) % 2**32
    in_last_word = [i for i in range(length) if i // 32 == num_words(length) - 1]
    assert mask == sum(2 ** (i % 32) for i in in_last_word)
    assert -(2**31) <= last_word_mask(length) < 2**31  # an int32 tensor can hold it


@pytest.mark.parametrize("length", [1, 31, 32, 33, 100])
def test_dot_from_mismatches_is_the_inner_product(length):
    generator = torch.Generator().manual_seed(length)
    for _ in range(20):
        x, w = (torch.randint(0, 2, (2, length), generator=generator) * 2 - 1).unbind()
        words = [sum(2**i for i in range(length) if row[i] == 1) for row in (x, w)]
        mismatches = torch.tensor((words[0] ^ words[1]).bit_count())
        assert dot_from_mismatches(length, mismatches) == int(x @ w)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int8, torch.int64])
def test_check_signs_passes_signs_of_every_dtype(dtype):
    check_signs("pack()", torch.tensor([1, -1, -1], dtype=dtype))


def test_check_signs_passes_bools_and_nothing_at_all():
    check_signs("pack()", torch.tensor([True, False]))
    check_signs("pack()", torch.zeros(0, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8, torch.uint8])
def test_check_signs_says_how_to_map_zeros_and_ones(dtype):
    with pytest.raises(
        ValueError,
        match=r"psa\(\) needs ±1 values: received values in \{0, 1\}\. Map them with 2 \* x - 1\.",
    ):
        check_signs("psa()", torch.tensor([[0, 1], [1, 0]], dtype=dtype))


@pytest.mark.parametrize(
    "wrong", [0.5, 2.0, -3.0, float("nan"), float("inf"), 1 + 2**-52, -1 - 2**-52, 5e-324]
)
def test_check_signs_names_the_first_wrong_value(wrong):
    x = torch.ones(2, 3, dtype=torch.float64)
    x[1, 2] = wrong
    x[0, 1] = -1
    with pytest.raises(ValueError, match=rf"received {wrong} at index \(1, 2\)\. Take signs first"):
        check_signs("pack()", x)


def test_check_signs_follows_its_own_advice():
    x = torch.tensor([0.0, -0.3, 0.7])
    check_signs("pack()", torch.where(x < 0, -1.0, 1.0))
    check_signs("pack()", 2 * torch.tensor([0, 1, 1]) - 1)


def test_is_sign_is_not_fooled_by_unsigned_wraparound():
    assert is_sign(torch.tensor([255, 1, 0], dtype=torch.uint8)).tolist() == [False, True, False]


def test_packed_bits_states_the_shape_of_the_values():
    bits = PackedBits(torch.zeros(4, 5, 3, dtype=torch.int32), 70)
    assert bits.shape == (4, 5, 70)
    assert bits.device == torch.device("cpu")


def test_packed_bits_moves_with_its_length():
    bits = PackedBits(torch.tensor([[7]], dtype=torch.int32), 5)
    moved = bits.to("meta")
    assert (moved.device.type, moved.length, moved.data.shape) == ("meta", 5, (1, 1))
    assert bits.to("cpu").data.tolist() == [[7]]


def test_packed_bits_is_immutable():
    bits = PackedBits(torch.zeros(1, dtype=torch.int32), 3)
    with pytest.raises(AttributeError):
        bits.length = 4


def test_packed_bits_refuses_what_is_not_words():
    with pytest.raises(TypeError, match=r"int32: received torch\.float32\. Pack ±1 values with"):
        PackedBits(torch.zeros(2, 1, dtype=torch.float32), 3)
    with pytest.raises(ValueError, match=r"length=65\) needs 3 words.*shape \(2, 2\)"):
        PackedBits(torch.zeros(2, 2, dtype=torch.int32), 65)
    with pytest.raises(ValueError, match=r"length=1\) needs 1 words.*shape \(\)"):
        PackedBits(torch.zeros((), dtype=torch.int32), 1)
    with pytest.raises(ValueError, match=r"length=-1\)"):
        PackedBits(torch.zeros(0, dtype=torch.int32), -1)
