r"""What a prediction of an ensemble costs on a CUDA device: packed draws against torch on the same.

    python -m studies.speed.cuda [--quick] [--save FILE]

First the rates of single operations are printed, in one clock of a multiprocessor; then the logits
of the device are compared with those of the CPU, bit by bit; then members of an ensemble, networks
1024-1024-1024-10 of random ±1 weights and activations, take turns with torch's.

It has never run on a device: there are no results yet.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bayes_sbn.kernels.cuda.compiler import find_compiler
from bayes_sbn.kernels.cuda.device import current_device
from bayes_sbn.kernels.cuda.driver import Driver, library_name
from bayes_sbn.kernels.cuda.ensemble import DevicePlanes
from bayes_sbn.kernels.streams import planes_of
from studies.speed import cuda_rates
from studies.speed.measure import last_line, medians
from studies.speed.predict import Setting, Tuned, bernoulli_member, make_setting

TARGETS = {"torch.bernoulli/independent": 40.0, "torch batched, bfloat16/independent": 10.0}
"""Ratios to reach on a Hopper card."""


def on_device(setting: Setting, device: torch.device) -> Setting:
    """The rivals' tensors on a device."""
    return replace(
        setting,
        x=setting.x.to(device),
        probabilities=[p.to(device) for p in setting.probabilities],
        scales=[s.to(device) for s in setting.scales],
        biases=[b.to(device) for b in setting.biases],
    )


def batched_members(setting: Setting, draws: int, dtype: torch.dtype) -> Tensor:
    """Members side by side: uniforms, comparisons and batched products, (draws, rows, classes)."""
    h = setting.x.to(dtype).expand(draws, *setting.x.shape)
    parts = zip(setting.probabilities, setting.scales, setting.biases, strict=True)
    for index, (p, scale, bias) in enumerate(parts):
        bits = torch.rand(draws, *p.shape, device=p.device) < p
        w = bits.to(dtype).mul_(2).sub_(1)
        a = torch.bmm(h, w.mT).float() * scale + bias
        if index + 1 < len(setting.scales):
            h = (torch.rand_like(a) < a.sigmoid_()).to(dtype).mul_(2).sub_(1)
    return a.softmax(-1)


def candidates(setting: Setting, rivals: Setting, at_once: int) -> dict[str, tuple[Callable, int]]:
    """What is run, and of how many members.

    Args:
        setting: with the ensemble.
        rivals: the same with its tensors on the device.
        at_once: members of a batch of torch's.
    """
    draws = len(setting.ensemble)

    def packed(noise: str) -> Callable[[], object]:
        return lambda: setting.ensemble.predict(
            setting.x, noise=noise, backend="cuda", progress=False
        )

    with rivals.x.device:
        tuned = Tuned(rivals)
    return {
        "independent": (packed("independent"), draws),
        "shared": (packed("shared"), draws),
        "torch.bernoulli": (lambda: bernoulli_member(rivals), 1),
        "torch tuned": (tuned, 1),
        "torch batched, float32": (
            lambda: batched_members(rivals, at_once, torch.float32),
            at_once,
        ),
        "torch batched, bfloat16": (
            lambda: batched_members(rivals, at_once, torch.bfloat16),
            at_once,
        ),
    }


def print_rates(setting: Setting) -> dict[str, float]:
    """Rates of single operations."""
    device = current_device("rates()")
    index = device.torch_device.index
    major, minor = torch.cuda.get_device_capability(index)
    code = cuda_rates.compiled_rates(find_compiler(torch.version.cuda), f"sm_{major}{minor}")
    driver = Driver(library_name())
    driver.enter(driver.context(index))
    module = driver.load(code, cuda_rates.KERNELS)
    layer = setting.ensemble.mixture.networks[0].layers[0]
    found = cuda_rates.rates(
        module,
        DevicePlanes(planes_of(layer), device.torch_device),
        layer.num_units,
        layer.num_inputs,
        device=device.torch_device,
        blocks=device.processors,
        turns=1000,
        stream=torch.cuda.current_stream().cuda_stream,
    )
    print("in a clock of a multiprocessor")
    for name, rate in found.items():
        print(f"  {name:24}{rate:12.1f}")
    return found


def check(setting: Setting) -> None:
    """The device's integer logits are the CPU's."""
    for noise in ("independent", "shared"):
        both = [
            setting.ensemble.integer_logits(setting.x, noise=noise, backend=b, progress=False)
            for b in ("cuda", "auto")
        ]
        if not np.array_equal(*both):
            different = int((both[0] != both[1]).sum())
            sys.exit(f"{different} of {both[0].size} logits differ from the CPU's, noise={noise!r}")
    print("integer logits equal those of the CPU")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="measure for 20 s at most")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=32, help="members of a batch of torch's")
    parser.add_argument("--rounds", type=int, default=None, help="at most; default 30, quick 5")
    parser.add_argument("--save", type=Path, default=None, help="a file for the last line, too")
    options = parser.parse_args(arguments)
    try:
        device = current_device("studies.speed.cuda()").torch_device
    except RuntimeError as error:
        sys.exit(f"This study needs a CUDA device. {error}")
    torch.set_default_dtype(torch.float32)
    rounds = (5 if options.quick else 30) if options.rounds is None else options.rounds
    setting = make_setting(options.width, options.batch, options.draws)
    found = {f"rate: {name}": rate for name, rate in print_rates(setting).items()}
    check(setting)
    members = candidates(setting, on_device(setting, device), options.at_once)

    def finished(run: Callable[[], object]) -> Callable[[], None]:
        def wait() -> None:
            run()
            torch.cuda.synchronize()

        return wait

    with torch.no_grad():
        times = medians(
            {name: finished(run) for name, (run, _) in members.items()},
            rounds=rounds,
            seconds=20.0 if options.quick else 120.0,
        )
    each = {name: times[name] / number for name, (_, number) in members.items()}
    print(
        f"\n{options.width}-{options.width}-{options.width}-10, batch {options.batch}: us a member"
    )
    for name, taken in each.items():
        print(f"  {name:26}{taken * 1e6:10.2f}")
    rivals = [name for name in members if name.startswith("torch")]
    for own in ("independent", "shared"):
        found |= {f"{rival}/{own}": each[rival] / each[own] for rival in rivals}
    line = last_line("speed/cuda", found, TARGETS)
    print(line)
    if options.save is not None:
        options.save.parent.mkdir(parents=True, exist_ok=True)
        options.save.write_text(line + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
