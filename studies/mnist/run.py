r"""MNIST by a 784-1024-1024-10 network of ±1 weights and ±1 activations.

    python -m studies.mnist.run --data PATH               trains, scores, writes the results here
    python -m studies.mnist.run --data PATH --held-out    for choosing: the last training images
    python -m studies.mnist.run --quick                   a small network on scikit-learn's digits

PATH is the folder of the four official files.  Two networks are trained alike: a posterior over the
weights (``AutoSignBernoulli``) and the deterministic network of the same shape (``AutoSignDelta``).
``--checkpoint FOLDER`` keeps the state of each epoch, and the same command goes on from it.  The
last line is one JSON object.
"""

import argparse
import json
import time
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor

import bayes_sbn as sbn
from studies.mnist.data import Centring, Digits, MovedBatches, load
from studies.speed.measure import last_line

HERE = Path(__file__).parent
HELD_OUT = 10_000
GUIDES = {"posterior": sbn.guides.AutoSignBernoulli, "deterministic": sbn.guides.AutoSignDelta}


@dataclass(frozen=True)
class Settings:
    """How a network is trained; the defaults are those of the results.

    Args:
        hidden: widths.
        epochs: passes over the images.
        batch_size: rows of a batch.
        rate: step size of the ±1 weights, falling as a cosine to 0.
        real_rate: of scales and biases.
        temperature: of the KL.
        spread: standard deviation of the natural parameters at the start.
        moves: size of the random moves of the images.
        draws: networks in the ensemble.
        seed: of everything.
    """

    hidden: tuple[int, ...] = (1024, 1024)
    epochs: int = 80
    batch_size: int = 256
    rate: float = 0.05
    real_rate: float = 0.01
    temperature: float = 0.0003
    spread: float = 1.5
    moves: float = 1.0
    draws: int = 32
    seed: int = 1


@dataclass(frozen=True)
class Problem:
    """What is learned, and what is scored."""

    train: Digits
    centring: Centring
    x: Tensor
    y: np.ndarray[Any, Any]

    @classmethod
    def of(cls, train: Digits, scored: Digits) -> "Problem":
        """Images are centred by those that are learned."""
        centring = Centring.of(train.images)
        return cls(train, centring, centring(scored.images), scored.labels.numpy())


def problem_of(folder: Path, held_out: bool) -> Problem:
    """All training images and the test images, or the last training images held out."""
    train = load(folder, "train")
    if not held_out:
        return Problem.of(train, load(folder, "test"))
    kept = Digits(train.images[:-HELD_OUT], train.labels[:-HELD_OUT])
    return Problem.of(kept, Digits(train.images[-HELD_OUT:], train.labels[-HELD_OUT:]))


def small_problem() -> Problem:
    """scikit-learn's digits, enlarged to the size of MNIST's: for a look that takes seconds."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    grown = torch.nn.functional.interpolate(
        torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8), 28, mode="bilinear"
    )[:, 0]
    y = torch.tensor(labels)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    rows, rest = order[:1437], order[1437:]
    return Problem.of(Digits(grown[rows], y[rows]), Digits(grown[rest], y[rest]))


def scores(ensemble: sbn.Ensemble, problem: Problem) -> dict[str, float]:
    """Of the ensemble, and the mean accuracy and NLL of its members."""
    pred = ensemble.predict(problem.x, progress=False)
    each = np.asarray(pred.probs_per_draw)
    own = np.take_along_axis(each, problem.y[None, :, None], -1)[..., 0]
    return {
        "accuracy": float((pred.mean.argmax(1) == problem.y).mean()),
        "nll": float(sbn.metrics.nll(pred, problem.y)),
        "ece": float(sbn.metrics.ece(pred, problem.y)),
        "draw accuracy": float((each.argmax(-1) == problem.y).mean()),
        "draw nll": float(-np.log(own).mean()),
    }


def by_draws(ensemble: sbn.Ensemble, problem: Problem) -> list[list[float]]:
    """Number of draws, accuracy and NLL of the ensemble of the first so many."""
    each = np.asarray(ensemble.predict(problem.x, progress=False).probs_per_draw)
    curve = []
    for number in (1, 2, 4, 8, 16, 32, 64, 128):
        if number <= len(each):
            mean = each[:number].mean(0)
            own = mean[np.arange(len(mean)), problem.y]
            accuracy = float((mean.argmax(1) == problem.y).mean())
            curve.append([number, accuracy, float(-np.log(own).mean())])
    return curve


def train(
    problem: Problem, kind: str, settings: Settings, checkpoint: Path | None, every: int
) -> tuple[sbn.Posterior, dict[str, Any]]:
    """A fitted network as plain numbers, and how the fit went."""
    torch.manual_seed(settings.seed)
    model = sbn.models.BinaryMLP(
        problem.x.shape[1], settings.hidden, 10, num_data=len(problem.train.labels)
    )
    guide = GUIDES[kind](model, init_scale=settings.spread)
    batches = MovedBatches(
        problem.train, problem.centring, settings.batch_size, settings.moves, settings.seed
    )
    reach = 1.25 * float(
        torch.maximum(problem.x.abs().max(), problem.centring(problem.train.images).abs().max())
    )

    def posterior() -> sbn.Posterior:
        return sbn.Posterior.from_guide(
            model, guide, temperature=settings.temperature, input_range=reach
        )

    looks = None if checkpoint is None else checkpoint / f"{kind}.jsonl"
    curve: list[dict[str, float]] = []
    if looks is not None and looks.exists():  # of the epochs that a killed run has done
        curve = [json.loads(line) for line in looks.read_text("utf-8").splitlines()]

    def look(record: Any) -> None:
        if record.epoch % every and record.epoch != settings.epochs:
            return
        found = scores(posterior().draw(8, seed=settings.seed), problem)
        bits = record.kl_bits_per_weight
        curve.append({"epoch": record.epoch, "loss": record.loss, "kl bits": bits, **found})
        if looks is not None:
            looks.parent.mkdir(parents=True, exist_ok=True)
            with looks.open("a", encoding="utf-8") as file:
                file.write(json.dumps(curve[-1]) + "\n")
        print(
            f"{kind}, epoch {record.epoch}: loss {record.loss:.4f}, KL {bits:.3f} bits a weight, "
            f"8 draws: accuracy {found['accuracy']:.4f}, NLL {found['nll']:.4f}, "
            f"one: {found['draw accuracy']:.4f}",
            flush=True,
        )

    started = time.perf_counter()
    fit = sbn.fit(
        model,
        guide,
        batches,
        elbo=sbn.TraceEstimator_ELBO("psa", temperature=settings.temperature),
        optim=sbn.optim.MirrorDescent(
            {"lr": settings.rate, "real": ("Adam", {"lr": settings.real_rate})}
        ),
        epochs=settings.epochs,
        checkpoint=None if checkpoint is None else checkpoint / kind,
        after_epoch=look,
    )
    seconds = {
        "fit seconds": sum(record.seconds for record in fit.history),
        "seconds of this run": time.perf_counter() - started,
    }
    return posterior(), {"curve": curve, **seconds}


def study(
    problem: Problem, settings: Settings, kinds: list[str], checkpoint: Path | None, every: int
) -> dict[str, Any]:
    """Train and score networks of each kind."""
    results: dict[str, Any] = {"settings": asdict(settings), "threads": torch.get_num_threads()}
    for kind in kinds:
        posterior, found = train(problem, kind, settings, checkpoint, every)
        ensemble = posterior.draw(settings.draws, seed=settings.seed)
        found["ensemble"] = scores(ensemble, problem)
        found["bits per weight"] = posterior.bits_per_weight
        if kind == "posterior":
            mode = posterior.mode().draw(settings.draws, seed=settings.seed)
            found["mode"] = scores(mode, problem)
            many = posterior.draw(4 * settings.draws, seed=settings.seed)
            found["by draws"] = by_draws(many, problem)
        results[kind] = found
        print(json.dumps({kind: {k: v for k, v in found.items() if k != "curve"}}), flush=True)
    return results


def judged(results: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """What was asked for and did not come out, in words."""
    ensemble = results["posterior"]["ensemble"]
    failures = [
        f"{name} is {ensemble[name]:.4f}, asked for {sign} {bound}"
        for name, sign, bound in expected["asked"]
        if (ensemble[name] < bound if sign == ">=" else ensemble[name] > bound)
    ]
    rivals = {"mode": results["posterior"].get("mode")}
    rivals["deterministic"] = results.get("deterministic", {}).get("ensemble")
    for name, rival in rivals.items():
        if rival is not None and ensemble["nll"] >= rival["nll"]:
            failures.append(f"NLL {ensemble['nll']:.4f} is not below {rival['nll']:.4f} ({name})")
    return failures


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the four official files")
    parser.add_argument("--quick", action="store_true", help="scikit-learn's digits, 128 units")
    parser.add_argument("--held-out", action="store_true", help="score held-out training images")
    parser.add_argument("--kinds", nargs="+", choices=GUIDES, default=list(GUIDES))
    parser.add_argument("--checkpoint", type=Path, help="folder to go on from")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, default=5, help="epochs between looks")
    for name, value in asdict(Settings()).items():
        many = {"nargs": "+"} if isinstance(value, tuple) else {}
        kind = type(value[0]) if isinstance(value, tuple) else type(value)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, **many)
    options = parser.parse_args(arguments)
    chosen = {
        name: tuple(value) if isinstance(value, list) else value
        for name in asdict(Settings())
        if (value := getattr(options, name)) is not None
    }
    if options.quick:
        chosen = {"hidden": (128,), "epochs": 30, "temperature": 0.003, "moves": 0.5} | chosen
    elif options.data is None:
        parser.error("give --data PATH, the folder of the four official files, or --quick")
    torch.set_num_threads(options.threads)
    torch.set_default_dtype(torch.float32)
    pyro.enable_validation(False)
    settings = Settings(**chosen)
    problem = small_problem() if options.quick else problem_of(options.data, options.held_out)
    results = study(problem, settings, options.kinds, options.checkpoint, options.every)
    expected = tomllib.loads((HERE / "expected.toml").read_text("utf-8"))
    is_whole = not (options.quick or options.held_out) and set(options.kinds) == set(GUIDES)
    if is_whole:
        (HERE / "results.json").write_text(json.dumps(rounded(results), indent=1) + "\n", "utf-8")
    if "posterior" in results:
        for failure in judged(results, expected):
            print(f"not as asked: {failure}")
        ensemble = results["posterior"]["ensemble"]
        goal = {name: bound for name, _, bound in expected["asked"]}
        print(last_line("mnist", {name: ensemble[name] for name in goal}, goal))


def rounded(value: Any) -> Any:
    """The same with six digits."""
    return json.loads(json.dumps(value), parse_float=lambda text: float(f"{float(text):.6g}"))


if __name__ == "__main__":
    main()
