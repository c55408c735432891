r"""What packed kernels cost, against torch: products, draws of weights, and layers of random signs.

    python -m studies.speed.kernels [--quick]

One thread; candidates take turns, ratios are those of medians.  ``BAYES_SBN_ISA`` forces an
instruction set.  Multiplications a nanosecond are printed beside them, and, with ``--ghz``, the
clock of the core under load, a cycle: on a core that does two operations a cycle 341 are the limit
of three for 512 bits, and 410 that of five for 1024.
"""

import argparse
from collections.abc import Callable, Sequence

import torch

from bayes_sbn import kernels
from studies.speed.measure import last_line, medians

SHAPES = ((256, 1024, 1024), (1024, 1024, 1024), (256, 4096, 4096), (16, 1024, 1024))
"""Rows, inputs, units."""

DRAWS = 8
"""So many of a layer's weights at a time."""

_WIDE = {"float32/xnor, 256x1024x1024": 20.0, "torch.bernoulli/draw": 90.0}

TARGETS = {
    "amx": _WIDE,
    "avx512": _WIDE,
    "avx2": {"float32/xnor, 256x1024x1024": 6.0},
    "portable": {"float32/xnor, 256x1024x1024": 2.0},
}
"""Accepted ratios by instruction set, on a core with one float32 FMA port a cycle."""


def products(rows: int, inputs: int, units: int) -> dict[str, Callable[[], object]]:
    """One matrix product of ±1 values, packed and in torch's types."""
    x = torch.where(torch.rand(rows, inputs) < 0.5, -1.0, 1.0)
    w = torch.where(torch.rand(units, inputs) < 0.5, -1.0, 1.0)
    packed = kernels.pack(x), kernels.pack(w)
    assert torch.equal(kernels.xnor_linear(*packed).float(), x @ w.T)
    halves = x.bfloat16(), w.bfloat16()
    return {
        "xnor": lambda: kernels.xnor_linear(*packed),
        "float32": lambda: torch.nn.functional.linear(x, w),
        "bfloat16": lambda: torch.nn.functional.linear(*halves),
    }


def draws(units: int, inputs: int) -> dict[str, Callable[[], object]]:
    """Draws of the weights of a layer; torch's comparison into buffers that are reused."""
    p = torch.rand(units, inputs)
    packed = kernels.PackedProbabilities.pack(p)
    uniform, bits = torch.empty_like(p), torch.empty_like(p, dtype=torch.bool)
    return {
        "draw": lambda: packed.draw(DRAWS, seed=3),
        "torch.bernoulli": lambda: [torch.bernoulli(p) for _ in range(DRAWS)],
        "torch.rand < p": lambda: [torch.lt(uniform.uniform_(), p, out=bits) for _ in range(DRAWS)],
    }


def layers(rows: int, inputs: int, units: int) -> dict[str, Callable[[], object]]:
    """One layer of random signs, from packed bits to packed bits, and in torch's float32.

    The rivals' uniforms go into a buffer that is reused; their results are bools, or 0 and 1, in
    place of the ±1 that the next layer needs.
    """
    x = torch.where(torch.rand(rows, inputs) < 0.5, -1.0, 1.0)
    w = torch.where(torch.rand(units, inputs) < 0.5, -1.0, 1.0)
    scale, bias = torch.full((units,), inputs**-0.5), torch.randn(units)
    packed, weights = kernels.pack(x), kernels.pack(w)
    p = kernels.PackedProbabilities.pack(torch.rand(units, inputs))
    scaled, uniform = w * scale[:, None], torch.empty(rows, units)

    def probs() -> torch.Tensor:
        return torch.nn.functional.linear(x, scaled, bias).sigmoid_()

    own = kernels.stochastic_linear
    return {
        "independent": lambda: own(packed, weights, scale, bias, row_noise="independent"),
        "shared": lambda: own(packed, weights, scale, bias),
        "independent, w drawn": lambda: own(packed, p, scale, bias, row_noise="independent"),
        "xnor alone": lambda: kernels.xnor_linear(packed, weights),
        "linear + bernoulli": lambda: torch.bernoulli(probs()),
        "linear + rand < sigmoid": lambda: torch.lt(uniform.uniform_(), probs()),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="end within 50 s on two cores")
    parser.add_argument("--rounds", type=int, default=None, help="at most; default 200, quick 15")
    parser.add_argument("--shapes", type=int, nargs=3, default=None, help="rows, inputs, units")
    parser.add_argument("--ghz", type=float, default=None, help="clock of the core under load")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    rounds = (15 if options.quick else 200) if options.rounds is None else options.rounds
    limit = 4.0 if options.quick else 30.0
    info = kernels.backend_info()
    found = {}
    shapes = SHAPES if options.shapes is None else (tuple(options.shapes),)
    print(f"products, {info.backend} {info.isa or ''}, milliseconds (medians)")
    for shape in shapes:
        times = medians(products(*shape), rounds=rounds, seconds=limit)
        name = "x".join(map(str, shape))
        rate = shape[0] * shape[1] * shape[2] / times["xnor"] / 1e9
        cycle = "" if options.ghz is None else f", {rate / options.ghz:.0f} a cycle"
        taken = ", ".join(f"{key} {value * 1e3:.3f}" for key, value in times.items())
        print(f"  {name:16}{taken}; {rate:.0f} multiplications a nanosecond{cycle}")
        for rival in ("float32", "bfloat16"):
            found[f"{rival}/xnor, {name}"] = times[rival] / times["xnor"]
    units, inputs = shapes[0][2], shapes[0][1]
    times = medians(draws(units, inputs), rounds=rounds, seconds=limit)
    print(f"draws of {units} x {inputs} weights, picoseconds a weight (medians)")
    for key, value in times.items():
        print(f"  {key:16}{value / DRAWS / units / inputs * 1e12:10.1f}")
    for rival in ("torch.bernoulli", "torch.rand < p"):
        found[f"{rival}/draw"] = times[rival] / times["draw"]
    rows = shapes[0][0]
    times = medians(layers(rows, inputs, units), rounds=rounds, seconds=limit)
    print(f"a layer of random signs, {rows}x{inputs}x{units}, milliseconds (medians)")
    for key, value in times.items():
        print(f"  {key:24}{value * 1e3:10.3f}")
    for rival in ("linear + bernoulli", "linear + rand < sigmoid"):
        for one in ("independent", "shared"):
            found[f"{rival}/{one}"] = times[rival] / times[one]
    print("\nratios")
    targets = TARGETS.get(kernels.backend_info().isa or "", {})
    for name, value in found.items():
        target = f"  (accepted {targets[name]:g})" if name in targets else ""
        print(f"  {name:36}{value:9.2f}{target}")
    print(last_line("speed/kernels", found, targets))


if __name__ == "__main__":
    main()
