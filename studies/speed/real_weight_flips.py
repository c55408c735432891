"""What PSA's backward costs where every flip has a step of its own, against a float layer's.

    python -m studies.speed.real_weight_flips [--quick]

One dense layer: real weights on ±1 inputs, and ±1 weights on real inputs flipped exactly.  The
backward passes of all candidates are taken in turns; ratios are those of medians.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bayes_sbn.affines import MeanSign, UnitFunction, affine
from bayes_sbn.kernels import backend_info
from bayes_sbn.noise import NOISES, Noise, get_noise
from bayes_sbn.signs import FlipRule, tag_sign
from studies.speed.measure import last_line, medians

FLOAT_LAYER = "float layer, tanh"
PRODUCTS = "its two products alone"
BLOCKS = "logistic, blocks of rows"
LITERAL = "logistic, one tensor of flips"
REAL_WEIGHTS = "real weights, {}"
SIGN_WEIGHTS = "±1 weights on real inputs, {}"

TARGETS = {"real weights, logistic/float layer": 4.0}
"""The largest ratio that is accepted, of those that have one."""


@dataclass(frozen=True)
class MeanInBlocks(UnitFunction):
    """The mean of a unit as the fused sums do not know it: evaluated in blocks of rows."""

    noise: Noise

    def value(self, a: Tensor) -> Tensor:
        """``2 F(a) - 1``."""
        return self.noise.mean_sign(a)

    def difference(self, a: Tensor, c: Tensor, x: Tensor) -> Tensor:
        """Twice the difference of the cdfs."""
        return 2 * self.noise.flip_difference(a, c, x)


@dataclass(frozen=True)
class Layer:
    """The operands of a dense layer of both kinds, and a gradient from above."""

    signs: Tensor
    reals: Tensor
    weight: Tensor
    sign_weight: Tensor
    bias: Tensor
    g: Tensor

    @classmethod
    def random(cls, rows: int, inputs: int, outputs: int, dtype: torch.dtype) -> "Layer":
        """Weights of standard deviation ``1 / sqrt(inputs)``, inputs uniform on [-1, 1]."""

        def signs(*shape: int) -> Tensor:
            return torch.where(torch.rand(shape) < 0.5, -1.0, 1.0).to(dtype)

        return cls(
            signs(rows, inputs),
            2 * torch.rand(rows, inputs, dtype=dtype) - 1,
            torch.randn(outputs, inputs, dtype=dtype) * inputs**-0.5,
            signs(outputs, inputs),
            0.1 * torch.randn(outputs, dtype=dtype),
            torch.randn(rows, outputs, dtype=dtype),
        )

    def rows(self, count: int) -> "Layer":
        """The layer with a part of the batch."""
        return Layer(
            self.signs[:count],
            self.reals[:count],
            self.weight,
            self.sign_weight,
            self.bias,
            self.g[:count],
        )


def backward(value: Tensor, leaves: Sequence[Tensor], g: Tensor) -> Callable[[], object]:
    """The backward pass of a graph that is kept."""
    return lambda: torch.autograd.grad(value, leaves, g, retain_graph=True)


def float_layer(layer: Layer) -> Callable[[], object]:
    """Back-propagation through ``tanh(W x + b)``, to inputs, weights and bias."""
    x, w, b = (t.clone().requires_grad_() for t in (layer.signs, layer.weight, layer.bias))
    return backward(torch.tanh(torch.nn.functional.linear(x, w, b)), (x, w, b), layer.g)


def products(layer: Layer) -> Callable[[], object]:
    """The two matrix products of that backward pass, and nothing else."""
    return lambda: (layer.g @ layer.weight, layer.g.mT @ layer.signs)


def real_weights(layer: Layer, h: UnitFunction) -> Callable[[], object]:
    """PSA's backward pass to ±1 inputs, by flips, and to real weights and bias."""
    x, w, b = (t.clone().requires_grad_() for t in (layer.signs, layer.weight, layer.bias))
    pre = affine(tag_sign(x, "x", FlipRule()), w, b)
    return backward(pre.through(h), (x, w, b), layer.g)


def sign_weights(layer: Layer, rule: str, per_unit: bool) -> Callable[[], object]:
    """PSA's backward pass to ±1 weights on real inputs, by flips, and to scale and bias."""
    w, b = (t.clone().requires_grad_() for t in (layer.sign_weight, layer.bias))
    inputs, outputs = w.shape[1], w.shape[0]
    s = (0.5 + torch.rand(outputs if per_unit else 1, dtype=w.dtype)) * inputs**-0.5
    s.requires_grad_()
    pre = affine(layer.reals, tag_sign(w, "w", FlipRule(real_inputs=rule)), b, scale=s)
    return backward(pre.through(MeanSign(get_noise("logistic"))), (w, s, b), layer.g)


def literal(layer: Layer) -> Callable[[], object]:
    """The flips of all inputs in one (rows, out, in) tensor, by two evaluations of F."""

    def run() -> Tensor:
        a = torch.addmm(layer.bias, layer.signs, layer.weight.mT).unsqueeze(-1)
        x = layer.signs.unsqueeze(-2)
        up, down = a + layer.weight * (1 - x), a - layer.weight * (1 + x)
        flips = torch.sigmoid(up) - torch.sigmoid(down)
        return (layer.g.unsqueeze(-1) * flips).sum(-2)

    return run


def fused(layer: Layer) -> dict[str, Callable[[], object]]:
    """The backward passes that take milliseconds, those of the float layer among them."""
    candidates = {FLOAT_LAYER: float_layer(layer), PRODUCTS: products(layer)}
    for name in NOISES:
        candidates[REAL_WEIGHTS.format(name)] = real_weights(layer, MeanSign(get_noise(name)))
    for rule, per_unit, name in (
        ("series", True, "series"),
        ("exact", False, "exact, one scale"),
        ("exact", True, "exact, scale per unit"),
    ):
        candidates[SIGN_WEIGHTS.format(name)] = sign_weights(layer, rule, per_unit)
    return candidates


def flip_by_flip(layer: Layer) -> dict[str, Callable[[], object]]:
    """Those that write every flip to memory."""
    return {
        BLOCKS: real_weights(layer, MeanInBlocks(get_noise("logistic"))),
        LITERAL: literal(layer),
    }


def backward_costs(
    layer: Layer, rounds: int, seconds: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Median times of a backward pass, and their ratios to the float layer's, by candidate.

    What writes every flip to memory would push the rest out of the caches: it takes turns with
    the float layer and the fused sum alone, and, its time being in proportion to the rows, with an
    eighth of them.
    """
    costs = medians(fused(layer), rounds=rounds, seconds=seconds / 2)
    found = {name: time / costs[FLOAT_LAYER] for name, time in costs.items()}
    part = max(1, len(layer.signs) // 8)
    logistic = REAL_WEIGHTS.format("logistic")
    pair = {name: run for name, run in fused(layer).items() if name in (FLOAT_LAYER, logistic)}
    slow = flip_by_flip(layer.rows(part))
    beside = medians(pair | slow, rounds=rounds, seconds=seconds / 2)
    for name in slow:
        costs[name] = beside[name] * len(layer.signs) / part
        found[name] = costs[name] / beside[FLOAT_LAYER]
    ratios = {f"{name}/float layer": value for name, value in found.items()}
    del ratios[f"{FLOAT_LAYER}/float layer"]
    ratios[f"{logistic}/{PRODUCTS}"] = costs[logistic] / costs[PRODUCTS]
    for name in (BLOCKS, LITERAL):
        ratios[f"{name}/{logistic}"] = costs[name] / beside[logistic]
    return costs, ratios


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="end within 50 s on two cores")
    parser.add_argument("--inputs", type=int, default=1024)
    parser.add_argument("--outputs", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=None, help="at most; default 200, quick 60")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rounds = (60 if options.quick else 200) if options.rounds is None else options.rounds
    info = backend_info()
    print(f"kernels: {info.backend}, {info.isa}")
    found: dict[str, float] = {}
    for dtype, label in ((torch.float32, ""), (torch.float64, ", float64")):
        layer = Layer.random(options.batch, options.inputs, options.outputs, dtype)
        costs, ratios = backward_costs(layer, rounds, 8.0 if options.quick else 120.0)
        shape = f"{options.batch}x{options.inputs}x{options.outputs}, {str(dtype)[6:]}"
        print(f"\none backward pass, {shape}, milliseconds (medians)")
        for name, taken in costs.items():
            print(f"  {name:46}{taken * 1e3:9.2f}")
        found |= {f"{name}{label}": value for name, value in ratios.items()}
    print("\nratios")
    for name, value in found.items():
        target = TARGETS.get(name)
        print(f"  {name:62}{value:9.3f}" + ("" if target is None else f"   (at most {target})"))
    print(last_line("speed/real_weight_flips", found, TARGETS))


if __name__ == "__main__":
    main()
