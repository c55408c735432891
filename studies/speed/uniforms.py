"""What the uniforms of a training step cost: Philox words of a seed against torch's generator.

    python -m studies.speed.uniforms [--quick]

As many uniforms as a layer of 784 x 512 weights needs; candidates take turns, ratios are those of
medians.  ``BAYES_SBN_ISA`` forces an instruction set.
"""

import argparse
from collections.abc import Callable, Sequence

import torch

from bayes_sbn import kernels
from studies.speed.measure import last_line, medians

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def candidates(number: int, dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    """A draw by the kernel and one by ``torch.rand``."""
    like = torch.empty(number, dtype=dtype)
    return {
        "kernel": lambda: kernels.uniforms_like(like, 7),
        "torch.rand": lambda: torch.rand(number, dtype=dtype),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="end within 50 s on two cores")
    parser.add_argument("--number", type=int, default=784 * 512)
    parser.add_argument("--rounds", type=int, default=None, help="at most; default 5000, quick 500")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    rounds = (500 if options.quick else 5000) if options.rounds is None else options.rounds
    info = kernels.backend_info()
    print(f"{options.number} uniforms, {info.backend} {info.isa or ''}, microseconds (medians)")
    found = {}
    for name, dtype in DTYPES.items():
        times = medians(candidates(options.number, dtype), rounds=rounds, seconds=20.0)
        for candidate, taken in times.items():
            print(f"  {name:10}{candidate:12}{taken * 1e6:10.1f}")
        found[f"torch.rand/kernel, {name}"] = times["torch.rand"] / times["kernel"]
    print("\nratios")
    for name, value in found.items():
        print(f"  {name:28}{value:9.2f}")
    print(last_line("speed/uniforms", found, {}))


if __name__ == "__main__":
    main()
