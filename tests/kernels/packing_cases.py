"""Inputs that hurt packing, and its definition written with Python integers."""

import math

import torch

LENGTHS = (0, 1, 31, 32, 33, 63, 64, 65, 100, 129, 1000)
LEADING = ((), (1,), (0,), (3,), (2, 3), (2, 0))
NATIVE_DTYPES = (torch.float32, torch.float64, torch.int8, torch.bool)
OTHER_DTYPES = (torch.float16, torch.bfloat16, torch.int16, torch.int32, torch.int64)


def signs(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Random ±1 values, int8."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2, shape, generator=generator, dtype=torch.int8) * 2 - 1


def as_dtype(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The ±1 values in another dtype; as bools, +1 is true."""
    return x == 1 if dtype == torch.bool else x.to(dtype)


def packed_by_hand(x: torch.Tensor) -> torch.Tensor:
    """Word by word and bit by bit, with Python integers."""
    length = x.shape[-1]
    rows = []
    for row in x.reshape(math.prod(x.shape[:-1]), length).tolist():
        words = [0] * math.ceil(length / 32)
        for i, value in enumerate(row):
            if value == 1:
                words[i // 32] += 2 ** (i % 32)
        rows.append([word - 2**32 if word >= 2**31 else word for word in words])
    flat = torch.tensor(rows, dtype=torch.int32)
    return flat.reshape(*x.shape[:-1], math.ceil(length / 32))


def poisoned(words: torch.Tensor, length: int) -> torch.Tensor:
    """The words with all padding bits set to one."""
    if length % 32 == 0:
        return words.clone()
    words = words.clone()
    words[..., -1] |= -(2 ** (length % 32))
    return words
