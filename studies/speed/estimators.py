"""What a training step costs: estimators against hand-written torch, floats and literal flips.

    python -m studies.speed.estimators [--quick]

The steps of all candidates are taken in turns; ratios are those of medians.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence

import torch
from pyro.infer import SVI
from torch import Tensor

import bayes_sbn as sbn
from studies.speed.measure import last_line, medians, peak_bytes
from studies.speed.rivals import FloatNetwork, HandWritten, literal_flips

ESTIMATORS = ("psa", "st", "score")
LEARNING_RATE = {"lr": 0.05, "real": ("Adam", {"lr": 0.01})}

TARGETS = {
    "psa/st step, ±1 inputs": 1.3,
    "psa/st step, real inputs": 1.5,
    "psa/st peak memory, real inputs": 1.3,
    "svi.step/hand-written loop, straight-through": 1.2,
}
"""The largest ratio that is accepted, of those that have one."""


def data(kind: str, rows: int, inputs: int, classes: int) -> tuple[Tensor, Tensor]:
    """Random inputs, ±1 or uniform on [-1, 1], and labels."""
    x = 2 * torch.rand(rows, inputs) - 1
    if kind == "±1":
        x = torch.where(x < 0, -1.0, 1.0)
    return x, torch.randint(0, classes, (rows,))


def gradient_step(
    estimator: str, sizes: Sequence[int], x: Tensor, y: Tensor
) -> Callable[[], object]:
    """One call of ``loss_and_grads`` on a network of its own, gradients cleared before."""
    model = sbn.models.BinaryMLP(sizes[0], sizes[1:-1], sizes[-1], num_data=10 * len(x))
    guide = sbn.guides.AutoSignBernoulli(model)
    elbo = sbn.TraceEstimator_ELBO(estimator)
    leaves = [*model.parameters(), *guide.parameters()]

    def run() -> float:
        for leaf in leaves:
            leaf.grad = None
        return elbo.loss_and_grads(model, guide, x, y)

    return run


def gradient_costs(
    sizes: Sequence[int], batch: int, rounds: int, seconds: float
) -> dict[str, dict]:
    """Median times of a gradient, by kind of inputs and candidate.

    Literal flips of a whole batch do not fit into memory: a thirty-second of it is scaled up.
    """
    costs = {}
    few = max(1, batch // 32)
    for kind in ("±1", "real"):
        x, y = data(kind, batch, sizes[0], sizes[-1])
        candidates = {name: gradient_step(name, sizes, x, y) for name in ESTIMATORS}
        written, floats = HandWritten(sizes, 10 * batch), FloatNetwork(sizes)
        candidates |= {
            "hand-written st": lambda w=written, x=x, y=y: w.loss_and_gradients(x, y),
            "float, tanh": lambda f=floats, x=x, y=y: f.loss_and_gradients(x, y),
        }
        if kind == "real":  # the work is the same for both
            candidates["literal flips"] = lambda x=x, y=y: literal_flips(sizes, x[:few], y[:few])
        costs[kind] = medians(candidates, rounds=rounds, seconds=seconds / 2)
    costs["real"]["literal flips"] *= batch / few
    return costs


def training_costs(
    sizes: Sequence[int], batch: int, rounds: int, seconds: float
) -> dict[str, float]:
    """Median times of a whole step, optimiser included: Pyro's SVI and a loop by hand."""
    x, y = data("real", batch, sizes[0], sizes[-1])
    candidates: dict[str, Callable[[], object]] = {}
    for name in ("st", "psa"):
        model = sbn.models.BinaryMLP(sizes[0], sizes[1:-1], sizes[-1], num_data=10 * batch)
        svi = SVI(
            model,
            sbn.guides.AutoSignBernoulli(model),
            sbn.optim.MirrorDescent(LEARNING_RATE),
            loss=sbn.TraceEstimator_ELBO(name),
        )
        candidates[f"svi.step, {name}"] = lambda svi=svi: svi.step(x, y)
    written = HandWritten(sizes, 10 * batch)
    dual = sbn.optim.mirror_descent.MirrorDescent(written.lam, lr=LEARNING_RATE["lr"])
    real = torch.optim.Adam(written.real_parameters, lr=0.01)

    def by_hand() -> float:
        loss = written.loss_and_gradients(x, y)
        dual.step()
        real.step()
        return loss

    candidates["hand-written loop, st"] = by_hand
    return medians(candidates, rounds=rounds, seconds=seconds)


def peaks(sizes: Sequence[int], batch: int) -> dict[str, int]:
    """The most bytes alive during one gradient, gradients themselves included."""
    x, y = data("real", batch, sizes[0], sizes[-1])
    return {name: peak_bytes(gradient_step(name, sizes, x, y)) for name in ESTIMATORS}


def ratios(
    costs: Mapping[str, Mapping[str, float]], steps: Mapping[str, float], bytes_: Mapping[str, int]
) -> dict[str, float]:
    """What is reported: the strong rival and the flattering one side by side."""
    found = {}
    for kind, time in costs.items():
        found[f"psa/st step, {kind} inputs"] = time["psa"] / time["st"]
        found[f"score/st step, {kind} inputs"] = time["score"] / time["st"]
        found[f"psa/hand-written st, {kind} inputs"] = time["psa"] / time["hand-written st"]
        found[f"psa/float back-propagation, {kind} inputs"] = time["psa"] / time["float, tanh"]
    found["literal flips/psa, real inputs"] = costs["real"]["literal flips"] / costs["real"]["psa"]
    found["psa/st peak memory, real inputs"] = bytes_["psa"] / bytes_["st"]
    loop = steps["hand-written loop, st"]
    found["svi.step/hand-written loop, straight-through"] = steps["svi.step, st"] / loop
    found["svi.step with psa/hand-written loop, straight-through"] = steps["svi.step, psa"] / loop
    return found


def show(
    costs: Mapping[str, Mapping[str, float]],
    steps: Mapping[str, float],
    bytes_: Mapping[str, int],
    found: Mapping[str, float],
    names: tuple[str, str],
) -> None:
    """Print the tables."""
    print(f"one gradient, {names[0]}, milliseconds (medians)")
    for kind, time in costs.items():
        for name, taken in time.items():
            print(f"  {name:18}{kind + ' inputs':14}{taken * 1e3:9.2f}")
    print(f"\none training step, {names[1]}, milliseconds (medians)")
    for name, time in steps.items():
        print(f"  {name:24}{time * 1e3:9.2f}")
    print(f"\npeak of live tensors in one gradient, {names[0]}, MB")
    for name, size in bytes_.items():
        print(f"  {name:24}{size / 1e6:9.1f}")
    print("\nratios")
    for name, value in found.items():
        target = TARGETS.get(name)
        print(f"  {name:56}{value:9.3f}" + ("" if target is None else f"   (at most {target})"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="end within 50 s on two cores")
    parser.add_argument("--inputs", type=int, default=784)
    parser.add_argument("--width", type=int, default=1024, help="of the networks of the gradients")
    parser.add_argument("--svi-width", type=int, default=512, help="of those of whole steps")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=None, help="at most; default 200, quick 30")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    rounds = (30 if options.quick else 200) if options.rounds is None else options.rounds
    seconds = 10.0 if options.quick else 180.0
    wide = [options.inputs, options.width, options.width, 10]
    narrow = [options.inputs, options.svi_width, options.svi_width, 10]
    costs = gradient_costs(wide, options.batch, rounds, 2 * seconds)
    steps = training_costs(narrow, options.batch, rounds, seconds)
    bytes_ = peaks(wide, options.batch)
    found = ratios(costs, steps, bytes_)
    labels = ["-".join(map(str, sizes)) + f", batch {options.batch}" for sizes in (wide, narrow)]
    show(costs, steps, bytes_, found, (labels[0], labels[1]))
    print(last_line("speed/estimators", found, TARGETS))


if __name__ == "__main__":
    main()
