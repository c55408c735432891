"""What a gradient of a convolutional network costs: PSA and straight-through against floats.

    python -m studies.speed.convolutions [--quick]

Four layers of 3 x 3 kernels on maps of 32 x 32 with 3 channels: 96, 96, 192 and 192 channels, as in
the CIFAR-10 network of the PSA paper, strides 1, 2, 2, 2, and a dense head.  Weights and units are
±1; the same network with real weights and tanh stands beside it.  Candidates take turns; ratios are
those of medians.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import pyro
import torch
from torch import Tensor

import bayes_sbn as sbn
from studies.speed.measure import last_line, medians, peak_bytes

STRIDES = (1, 2, 2, 2)
CLASSES = 10
TARGETS = {
    "psa/st step, ±1 inputs": 1.3,
    "psa/st step, real inputs": 1.5,
    "psa/st peak memory, ±1 inputs": 1.3,
    "psa/st peak memory, real inputs": 1.3,
}
"""The largest ratio that is accepted, of those that have one."""


class SignNetwork:
    """The network as a Pyro model of its own, with its guide.

    Args:
        channels: of the inputs and of every layer.
        side: of the maps.
        signs: whether the inputs are ±1 and the first layer may know it.
    """

    def __init__(self, channels: Sequence[int], side: int, *, signs: bool) -> None:
        self.channels, self.signs = channels, signs
        self.side = side
        for stride in STRIDES:
            self.side = (self.side - 1) // stride + 1
        x = torch.ones(2, channels[0], side, side)
        self.guide = sbn.guides.AutoSignBernoulli(
            self.model, example=(x, torch.zeros(2, dtype=torch.long))
        )

    def model(self, x: Tensor, y: Tensor) -> None:
        """Four ±1 layers and a categorical head with real weights."""
        weights, scales = [], []
        for k, (size, out) in enumerate(pairwise(self.channels)):
            prior = sbn.SignBernoulli(logits=torch.zeros(out, size, 3, 3)).to_event(4)
            weights.append(pyro.sample(f"w{k}", prior))
            start = torch.full((out,), (9 * size) ** -0.5)
            scales.append(pyro.param(f"s{k}", start))
        units = self.channels[-1] * self.side**2
        head = pyro.param("head", torch.zeros(CLASSES, units))
        with pyro.plate("data", 10 * len(x), subsample=x, dim=-1):
            h = sbn.as_signs(x) if self.signs else x
            for k, stride in enumerate(STRIDES):
                a = sbn.affine_conv2d(h, weights[k], scale=scales[k], stride=stride, padding=1)
                h = pyro.sample(f"h{k}", sbn.NoisySign(a))
            logits = sbn.affine(sbn.flatten(h, 3), head, scale=units**-0.5)
            pyro.sample("y", sbn.AffineCategorical(logits), obs=y)

    def gradient(self, estimator: str, x: Tensor, y: Tensor) -> Callable[[], float]:
        """One call of ``loss_and_grads``."""
        elbo = sbn.TraceEstimator_ELBO(estimator)
        return lambda: elbo.loss_and_grads(self.model, self.guide, x, y)


class FloatConvolutions:
    """Ordinary back-propagation through real weights and tanh."""

    def __init__(self, channels: Sequence[int], side: int) -> None:
        layers: list[torch.nn.Module] = []
        for (size, out), stride in zip(pairwise(channels), STRIDES, strict=True):
            layers += [torch.nn.Conv2d(size, out, 3, stride, 1), torch.nn.Tanh()]
            side = (side - 1) // stride + 1
        layers += [torch.nn.Flatten(), torch.nn.Linear(channels[-1] * side**2, CLASSES)]
        self.net = torch.nn.Sequential(*layers)

    def loss_and_gradients(self, x: Tensor, y: Tensor) -> float:
        """Cross entropy and its gradients."""
        self.net.zero_grad()
        loss = torch.nn.functional.cross_entropy(self.net(x), y)
        loss.backward()
        return loss.item()


def inputs(kind: str, shape: Sequence[int]) -> Tensor:
    """Random maps, ±1 or uniform on [-1, 1]."""
    x = 2 * torch.rand(*shape) - 1
    return torch.where(x < 0, -1.0, 1.0) if kind == "±1" else x


def costs(
    channels: Sequence[int], side: int, batch: int, rounds: int, seconds: float
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, int]]]:
    """Median times, and peaks of memory, by kind of inputs and candidate."""
    times, bytes_ = {}, {}
    y = torch.randint(0, CLASSES, (batch,))
    for kind in ("±1", "real"):
        pyro.clear_param_store()
        x = inputs(kind, (batch, channels[0], side, side))
        network = SignNetwork(channels, side, signs=kind == "±1")
        candidates: dict[str, Callable[[], object]] = {
            name: network.gradient(name, x, y) for name in ("psa", "st")
        }
        floats = FloatConvolutions(channels, side)
        candidates["float, tanh"] = lambda f=floats, x=x: f.loss_and_gradients(x, y)
        times[kind] = medians(candidates, rounds=rounds, seconds=seconds / 2)
        bytes_[kind] = {name: peak_bytes(candidates[name]) for name in ("psa", "st")}
    return times, bytes_


def ratios(
    times: Mapping[str, Mapping[str, float]], bytes_: Mapping[str, Mapping[str, int]]
) -> dict[str, float]:
    """What is reported."""
    found = {}
    for kind, time in times.items():
        found[f"psa/st step, {kind} inputs"] = time["psa"] / time["st"]
        found[f"psa/float back-propagation, {kind} inputs"] = time["psa"] / time["float, tanh"]
        peak = bytes_[kind]
        found[f"psa/st peak memory, {kind} inputs"] = peak["psa"] / peak["st"]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="end within 50 s on two cores")
    parser.add_argument("--channels", type=int, nargs=4, default=[96, 96, 192, 192])
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=None, help="at most; default 200, quick 60")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    rounds = (60 if options.quick else 200) if options.rounds is None else options.rounds
    channels = [3, *options.channels]
    seconds = 30.0 if options.quick else 120.0
    times, bytes_ = costs(channels, options.side, options.batch, rounds, seconds)
    names = "-".join(map(str, channels))
    print(f"one gradient, channels {names}, maps of {options.side}, batch {options.batch}")
    for kind, time in times.items():
        for name, taken in time.items():
            print(f"  {name:14}{kind + ' inputs':14}{taken * 1e3:9.2f} ms (median)")
        for name, size in bytes_[kind].items():
            print(f"  {name:14}{kind + ' inputs':14}{size / 1e6:9.1f} MB (peak of live tensors)")
    found = ratios(times, bytes_)
    print("\nratios")
    for name, value in found.items():
        target = TARGETS.get(name)
        print(f"  {name:44}{value:9.3f}" + ("" if target is None else f"   (at most {target})"))
    print(last_line("speed/convolutions", found, TARGETS))


if __name__ == "__main__":
    main()
