"""MNIST from the four official files, centred, and moved about a little while it is learned.

Pixels in [0, 1] less the mean of each pixel over the training images, divided by one standard
deviation for all: no pixel is blown up that is nearly always white.
"""

import gzip
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SIDE = 28
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def read_idx(path: Path) -> Tensor:
    """An IDX file of unsigned bytes, compressed or not.

    Raises:
        FileNotFoundError: neither ``path`` nor ``path.gz`` is there.
        ValueError: it is not such a file, or is truncated.
    """
    packed = path.with_name(path.name + ".gz")
    if packed.exists():
        content = gzip.decompress(packed.read_bytes())
    elif path.exists():
        content = path.read_bytes()
    else:
        raise FileNotFoundError(
            f"{path}: neither it nor {packed.name} is there. Give the folder of the four official "
            "files of MNIST, --data PATH."
        )
    start = 4 + 4 * content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else None
    if start is None or len(content) < start:
        raise ValueError(f"{path}: it is not an IDX file of unsigned bytes.")
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    values = np.frombuffer(content, np.uint8, offset=start)
    if values.size != np.prod(shape):
        raise ValueError(
            f"{path}: it is truncated or not an IDX file: {values.size} bytes for shape {shape}."
        )
    return torch.from_numpy(values.reshape(shape).copy())


@dataclass(frozen=True)
class Digits:
    """Images in [0, 1] of shape (rows, 28, 28), and labels."""

    images: Tensor
    labels: Tensor


def load(folder: Path, part: str) -> Digits:
    """The training or the test images."""
    images, labels = (read_idx(folder / name) for name in FILES[part])
    return Digits(images.float() / 255, labels.long())


@dataclass(frozen=True)
class Centring:
    """What makes images inputs: one mean a pixel, one deviation for all."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, images: Tensor) -> "Centring":
        """From the training images."""
        mean = images.mean(0)
        return cls(mean, (images - mean).square().mean().sqrt())

    def __call__(self, images: Tensor) -> Tensor:
        """Inputs, (rows, 784)."""
        return ((images - self.mean) / self.deviation).flatten(1)


def moved(images: Tensor, generator: torch.Generator, size: float) -> Tensor:
    """Images under small random affine maps.

    Args:
        images: (rows, 28, 28).
        generator: of the maps.
        size: 1 turns by at most 10 degrees, scales and shears by at most 0.1 and shifts by at most
            2 pixels, all uniform; 0 changes nothing.
    """
    turn, wide, high, shear, right, down = (
        2 * torch.rand(6, len(images), generator=generator) - 1
    ) * size
    turn = turn * (torch.pi / 18)
    cosine, sine = turn.cos(), turn.sin()
    wide, high, shear = 1 + 0.1 * wide, 1 + 0.1 * high, 0.1 * shear
    rows = (
        torch.stack([wide * cosine, -high * sine + shear, right * (2 * 2 / SIDE)], 1),
        torch.stack([wide * sine, high * cosine, down * (2 * 2 / SIDE)], 1),
    )
    grid = torch.nn.functional.affine_grid(
        torch.stack(rows, 1), [len(images), 1, SIDE, SIDE], align_corners=False
    )
    return torch.nn.functional.grid_sample(images.unsqueeze(1), grid, align_corners=False)[:, 0]


class MovedBatches:
    """Mini-batches whose images are moved anew in each epoch, as :func:`bayes_sbn.fit` takes them.

    Args:
        digits: the training images.
        centring: makes inputs of them.
        batch_size: rows of a batch.
        size: of the moves, see :func:`moved`.
        seed: of the order and the moves.
    """

    def __init__(
        self, digits: Digits, centring: Centring, batch_size: int, size: float, seed: int
    ) -> None:
        self.dataset = digits.labels
        self.digits, self.centring = digits, centring
        self.batch_size, self.size = batch_size, size
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.dataset), generator=self.generator)
        for rows in order.split(self.batch_size):
            images = self.digits.images[rows]
            if self.size:
                images = moved(images, self.generator, self.size)
            yield self.centring(images), self.digits.labels[rows]
