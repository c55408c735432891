r"""What a law of ±1 variables may be given: checks of its one parameter and of its coordinate."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def check_gradient(gradient: str) -> None:
    """Raise unless it is one of the two coordinates of a gradient."""
    if gradient not in ("natural", "euclidean"):
        raise ValueError(f"gradient={gradient!r} is not known; it is 'natural' or 'euclidean'.")


def check_parameter(name: str, value: Tensor) -> None:
    """Raise, naming the place, for a parameter that gives no law."""
    if not value.is_floating_point():
        raise TypeError(
            f"SignBernoulli({name}=...): the {name} are {value.dtype}; they must be floating "
            f"point. Write {name}.to(torch.get_default_dtype())."
        )
    low, high = {"logits": (-math.inf, math.inf), "probs": (0, 1), "mean": (-1, 1)}[name]
    wrong = torch.isnan(value) | (value < low) | (value > high)
    if wrong.any():
        place = tuple(int(i) for i in wrong.nonzero()[0])
        raise ValueError(
            f"SignBernoulli({name}=...): the value at {place} is {value[place].item()}; {name} "
            f"lie in [{low}, {high}]."
        )
