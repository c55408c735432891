r"""What convolutions and pooling of packed ±1 maps cost, against torch.

    python -m studies.speed.packed_convolutions [--quick]

One thread; candidates take turns, ratios are those of medians.  ``BAYES_SBN_ISA`` forces an
instruction set.  Kernels are 3 x 3 with a padding of 1; multiplications with cells of the padding
are not counted.  Torch convolves maps in both of its orders, and its best counts.
"""

import argparse
from collections.abc import Callable, Sequence

import torch
from torch.nn import functional

from bayes_sbn import kernels
from studies.speed.measure import last_line, medians

SHAPES = ((8, 256, 14), (8, 128, 28), (8, 64, 56), (8, 512, 7), (8, 32, 32), (1, 256, 14))
"""Batch, channels in and out, height and width."""

_WIDE = {"best float32/xnor, 8 x 256 x 14 x 14": 18.0}

TARGETS = {"amx": _WIDE, "avx512": _WIDE}
"""By instruction set, with one float32 FMA port; with two, XNOR is at most 13 times as fast."""


def signs(*shape: int) -> torch.Tensor:
    """±1 values in float32."""
    return torch.where(torch.rand(shape) < 0.5, -1.0, 1.0)


def packed(x: torch.Tensor) -> kernels.PackedBits:
    """Maps or kernels of torch, channels side by side."""
    return kernels.pack(x.permute(0, 2, 3, 1))


def convolutions(batch: int, channels: int, size: int) -> dict[str, Callable[[], object]]:
    """One layer of 3 x 3 kernels, packed and in torch's types and orders."""
    x, w = signs(batch, channels, size, size), signs(channels, channels, 3, 3)
    bits = packed(x), packed(w)
    dots = kernels.xnor_conv2d(*bits, padding=1).permute(0, 3, 1, 2)
    assert torch.equal(dots.float(), functional.conv2d(x, w, padding=1))
    last, halves, last_halves = (
        (x.to(**form), w.to(**form))
        for form in (
            {"memory_format": torch.channels_last},
            {"dtype": torch.bfloat16},
            {"dtype": torch.bfloat16, "memory_format": torch.channels_last},
        )
    )
    return {
        "xnor": lambda: kernels.xnor_conv2d(*bits, padding=1),
        "float32": lambda: functional.conv2d(x, w, padding=1),
        "float32 channels_last": lambda: functional.conv2d(*last, padding=1),
        "bfloat16": lambda: functional.conv2d(*halves, padding=1),
        "bfloat16 channels_last": lambda: functional.conv2d(*last_halves, padding=1),
    }


def pools(batch: int, channels: int, size: int) -> dict[str, Callable[[], object]]:
    """Windows of 2 x 2."""
    x = signs(batch, channels, size, size)
    last, bits = x.to(memory_format=torch.channels_last), packed(x)
    return {
        "max_pool2d": lambda: kernels.max_pool2d(bits, 2),
        "torch max": lambda: functional.max_pool2d(x, 2),
        "torch max channels_last": lambda: functional.max_pool2d(last, 2),
        "sum_pool2d": lambda: kernels.sum_pool2d(bits, 2),
        "torch avg": lambda: functional.avg_pool2d(x, 2),
        "torch avg channels_last": lambda: functional.avg_pool2d(last, 2),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="end within a minute on two cores")
    parser.add_argument("--rounds", type=int, default=None, help="at most; default 100, quick 15")
    parser.add_argument("--shapes", type=int, nargs=3, default=None, help="batch, channels, size")
    parser.add_argument("--ghz", type=float, default=None, help="clock of the core under load")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    rounds = (15 if options.quick else 100) if options.rounds is None else options.rounds
    limit = 5.0 if options.quick else 30.0
    info = kernels.backend_info()
    found = {}
    shapes = SHAPES if options.shapes is None else (tuple(options.shapes),)
    print(f"convolutions, {info.backend} {info.isa or ''}, milliseconds (medians)")
    for batch, channels, size in shapes:
        name = f"{batch} x {channels} x {size} x {size}"
        times = medians(convolutions(batch, channels, size), rounds=rounds, seconds=limit)
        rate = batch * (channels * (3 * size - 2)) ** 2 / times["xnor"] / 1e9
        cycle = "" if options.ghz is None else f", {rate / options.ghz:.0f} a cycle"
        taken = ", ".join(f"{key} {value * 1e3:.3f}" for key, value in times.items())
        print(f"  {name:20}{taken}; {rate:.0f} multiplications a nanosecond{cycle}")
        for rival in ("float32", "bfloat16"):
            best = min(value for key, value in times.items() if key.startswith(rival))
            found[f"best {rival}/xnor, {name}"] = best / times["xnor"]
    name = " x ".join(map(str, (*shapes[0], shapes[0][2])))
    times = medians(pools(*shapes[0]), rounds=rounds, seconds=limit)
    print(f"pooling of {name}, microseconds (medians)")
    print("  " + ", ".join(f"{key} {value * 1e6:.1f}" for key, value in times.items()))
    for ours, rival in (("max_pool2d", "torch max"), ("sum_pool2d", "torch avg")):
        best = min(value for key, value in times.items() if key.startswith(rival))
        found[f"best {rival}/{ours}"] = best / times[ours]
    print("\nratios")
    targets = TARGETS.get(kernels.backend_info().isa or "", {})
    for name, value in found.items():
        target = f"  (accepted {targets[name]:g})" if name in targets else ""
        print(f"  {name:44}{value:9.2f}{target}")
    print(last_line("speed/packed_convolutions", found, targets))


if __name__ == "__main__":
    main()
