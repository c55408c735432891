r"""What a prediction of an ensemble costs: packed draws against Pyro and against torch.

    python -m studies.speed.predict [--quick]

A network 1024-1024-1024-10 of random ±1 weights and activations, ±1 inputs, logistic noise; one
thread.  Times are of one member of the ensemble: candidates take turns, and ratios are those of
medians.  ``BAYES_SBN_ISA`` forces an instruction set, ``BAYES_SBN_BACKEND=reference`` NumPy.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyro
import torch
from torch import Tensor

import bayes_sbn as sbn
from bayes_sbn import kernels
from studies.speed.measure import last_line, medians

RIVALS = ("Predictive", "torch.bernoulli", "torch tuned", "matmuls alone")
TARGETS = {
    "Predictive/independent": 58.0,
    "torch.bernoulli/independent": 45.0,
    "torch tuned/independent": 20.0,
    "matmuls alone/independent": 12.0,
}
"""Accepted ratios on a core with AVX-512 VPOPCNTDQ and one float32 FMA port a cycle."""

MEMORY_TARGET = {"float32/packed memory": 31.0}
"""Accepted everywhere."""


@dataclass(frozen=True)
class Setting:
    """A network with its guide, an ensemble of it, and rows."""

    model: sbn.models.BinaryMLP
    guide: sbn.guides.AutoSignBernoulli
    ensemble: sbn.Ensemble
    x: Tensor
    probabilities: list[Tensor]
    scales: list[Tensor]
    biases: list[Tensor]


def make_setting(width: int, batch: int, draws: int) -> Setting:
    """Weights of all certainties at the start of a fit; scales 1 / sqrt(inputs)."""
    torch.manual_seed(0)
    model = sbn.models.BinaryMLP(width, [width, width], 10, num_data=60_000)
    guide = sbn.guides.AutoSignBernoulli(model)
    x = torch.where(torch.rand(batch, width) < 0.5, -1.0, 1.0)
    model(x)  # one call tells the model the range of its inputs
    posterior = sbn.Posterior.from_guide(model, guide)
    return Setting(
        model,
        guide,
        posterior.draw(draws, seed=1),
        x,
        *(
            [torch.tensor(getattr(layer, name), dtype=torch.float32) for layer in posterior.layers]
            for name in ("probabilities", "scale", "bias")
        ),
    )


def bernoulli_member(setting: Setting) -> Tensor:
    """One member as it is usually written: ``torch.bernoulli`` and ``linear``."""
    h = setting.x
    parts = zip(setting.probabilities, setting.scales, setting.biases, strict=True)
    for index, (p, scale, bias) in enumerate(parts):
        w = 2 * torch.bernoulli(p) - 1
        a = torch.nn.functional.linear(h, w) * scale + bias
        if index + 1 < len(setting.scales):
            h = 2 * torch.bernoulli(torch.sigmoid(a)) - 1
    return a.softmax(-1)


class Tuned:
    """One member as fast as torch has it: buffers made once, uniforms in place, comparisons.

    A draw is ``u < p`` with uniforms made in place, written as 2 [u < p] - 1; products, sigmoids
    and draws of activations reuse their buffers.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        batch = len(setting.x)
        self.uniform = [torch.empty_like(p) for p in setting.probabilities]
        self.weight = [torch.empty_like(p) for p in setting.probabilities]
        self.noise = [torch.empty(batch, len(s)) for s in setting.scales]
        self.value = [torch.empty(batch, len(s)) for s in setting.scales]

    def __call__(self) -> Tensor:
        """Class probabilities, (rows, classes)."""
        h, last = self.setting.x, len(self.setting.scales) - 1
        parts = zip(
            self.setting.probabilities, self.setting.scales, self.setting.biases, strict=True
        )
        for index, (p, scale, bias) in enumerate(parts):
            w, a = self.weight[index], self.value[index]
            torch.lt(self.uniform[index].uniform_(), p, out=w)
            w.mul_(2).sub_(1)
            torch.mm(h, w.t(), out=a)
            a.mul_(scale).add_(bias)
            if index < last:
                h = self.noise[index]
                torch.lt(h.uniform_(), a.sigmoid_(), out=h)
                h.mul_(2).sub_(1)
        return a.softmax(-1)


def matmuls(setting: Setting, weights: list[Tensor]) -> Tensor:
    """The products of one member in float32, and nothing else."""
    h = setting.x
    for w in weights:
        a = torch.nn.functional.linear(h, w)
        h = setting.x
    return a


def candidates(setting: Setting, pyro_draws: int) -> dict[str, tuple[Callable[[], object], int]]:
    """What is run, and of how many members."""
    draws = len(setting.ensemble)
    weights = [torch.where(p < 0.5, -1.0, 1.0) for p in setting.probabilities]
    tuned = Tuned(setting)
    predictive = pyro.infer.Predictive(
        setting.model, guide=setting.guide, num_samples=pyro_draws, return_sites=("y",)
    )

    packed_predictive = sbn.PackedPredictive(
        setting.model, setting.guide, draws, ("y",), seed=1, progress=False
    )

    def packed(noise: str) -> Callable[[], object]:
        return lambda: setting.ensemble.predict(setting.x, noise=noise, progress=False)

    return {
        "independent": (packed("independent"), draws),
        "shared": (packed("shared"), draws),
        "PackedPredictive": (lambda: packed_predictive(setting.x), draws),
        "Predictive": (lambda: predictive(setting.x), pyro_draws),
        "torch.bernoulli": (lambda: bernoulli_member(setting), 1),
        "torch tuned": (tuned, 1),
        "matmuls alone": (lambda: matmuls(setting, weights), 1),
    }


def check(setting: Setting) -> None:
    """The rivals predict the same thing: their means agree with the ensemble's."""
    own = setting.ensemble.predict(setting.x, progress=False).mean
    tuned = Tuned(setting)
    for name, member in (("torch.bernoulli", lambda: bernoulli_member(setting)), ("tuned", tuned)):
        with torch.no_grad():
            mean = torch.stack([member() for _ in range(len(setting.ensemble))]).mean(0).numpy()
        error = float(np.abs(mean - own).mean())
        print(f"  mean difference of probabilities, {name}: {error:.4f}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="end within 50 s on two cores")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=None, help="at most; default 15, quick 3")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.set_default_dtype(torch.float32)
    pyro.enable_validation(False)
    rounds = (3 if options.quick else 15) if options.rounds is None else options.rounds
    setting = make_setting(options.width, options.batch, options.draws)
    info = kernels.backend_info()
    print(
        f"{options.width}-{options.width}-{options.width}-10, batch {options.batch}, "
        f"{info.backend} {info.isa or ''}, milliseconds a member (medians)"
    )
    check(setting)
    members = candidates(setting, pyro_draws=5 if options.quick else 20)
    with torch.no_grad():
        times = medians(
            {name: run for name, (run, _) in members.items()},
            rounds=rounds,
            seconds=20.0 if options.quick else 300.0,
        )
    each = {name: times[name] / number for name, (_, number) in members.items()}
    for name, taken in each.items():
        print(f"  {name:18}{taken * 1e3:10.3f}")
    found = {
        f"{rival}/{own}": each[rival] / each[own]
        for own in ("independent", "shared")
        for rival in RIVALS
    }
    found["Predictive/PackedPredictive"] = each["Predictive"] / each["PackedPredictive"]
    floats = 4 * sum(p.numel() for p in setting.probabilities) * options.draws
    found["float32/packed memory"] = floats / setting.ensemble.memory
    print("\nratios")
    has_wide_popcount = sbn.kernels.backend_info().isa in ("avx512", "amx")
    targets = {**(TARGETS if has_wide_popcount else {}), **MEMORY_TARGET}
    for name, value in found.items():
        target = f"  (accepted {targets[name]:g})" if name in targets else ""
        print(f"  {name:32}{value:9.2f}{target}")
    print(last_line("speed/predict", found, targets))


if __name__ == "__main__":
    main()
