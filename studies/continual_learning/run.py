r"""Permuted digits in turn: the posterior of earlier tasks as the prior of the next.

    python -m studies.continual_learning.run            ten seeds of five tasks; writes results.json
    python -m studies.continual_learning.run --quick    two seeds of three tasks, writes nothing

Each task is scikit-learn's digits under a permutation of the pixels of its own, and is seen once.
Three ways to go on from a task: ``carried``, the posterior becomes the prior; ``fresh``, the prior
stays fair coins (fine-tuning); ``free``, no prior at all, T = 0.  All start each task where the
last one ended; scales and biases are learned by the first task alone.  The last line is one JSON
object.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

import bayes_sbn as sbn
from studies.speed.measure import last_line

HERE = Path(__file__).parent
WAYS = ("carried", "fresh", "free")
HIDDEN = [100, 100]
TEMPERATURE = 0.1
EPOCHS = 25

Task = tuple[Tensor, Tensor, Tensor, Tensor]


def tasks(number: int, seed: int) -> list[Task]:
    """``x, y, x_test, y_test`` of each task; the first is not permuted."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(
        images / 8 - 1, labels, test_size=360, stratify=labels, random_state=seed
    )
    x, x_test = (torch.tensor(part, dtype=torch.float32) for part in parts[:2])
    y, y_test = (torch.tensor(part) for part in parts[2:])
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.arange(64)] + [torch.randperm(64, generator=generator) for _ in range(number)]
    return [(x[:, order], y, x_test[:, order], y_test) for order in orders[:number]]


def accuracies(model: Any, guide: Any, seen: list[Task]) -> list[float]:
    """Of an ensemble of 32, on the test rows of each task."""
    ensemble = sbn.Posterior.from_guide(model, guide).draw(32)
    return [
        float((ensemble.predict(x, progress=False).mean.argmax(1) == y.numpy()).mean())
        for _, _, x, y in seen
    ]


def learn(way: str, given: list[Task], seed: int, temperature: float, epochs: int) -> list[Any]:
    """Accuracy on all tasks so far, after each task."""
    torch.manual_seed(seed)
    model = sbn.models.BinaryMLP(64, HIDDEN, 10, num_data=len(given[0][0]))
    guide = sbn.guides.AutoSignBernoulli(model)
    table = []
    for k, (x, y, _, _) in enumerate(given):
        # scales and biases are no part of the posterior: they are learned once
        real = ("Adam", {"lr": 0.01 if k == 0 else 0.0})
        sbn.fit(
            model,
            guide,
            (x, y),
            temperature=0.0 if way == "free" else temperature,
            optim=sbn.optim.MirrorDescent({"lr": 0.05, "real": real}),
            epochs=epochs,
            progress=False,
        )
        table.append(accuracies(model, guide, given[: k + 1]))
        if way == "carried":
            model.set_prior(guide.weight_probabilities())
    return table


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two seeds of three tasks")
    parser.add_argument("--seeds", type=int, nargs="+", help="default 1 to 10")
    parser.add_argument("--tasks", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--temperature", type=float, default=TEMPERATURE)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    options = parser.parse_args(arguments)
    seeds = options.seeds or ([1, 2] if options.quick else list(range(1, 11)))
    number = options.tasks or (3 if options.quick else 5)
    epochs = options.epochs or (15 if options.quick else EPOCHS)
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    found: dict[str, list[Any]] = {way: [] for way in options.ways}
    for seed in seeds:
        given = tasks(number, seed)
        for way in options.ways:
            table = learn(way, given, seed, options.temperature, epochs)
            found[way].append(table)
            last = ", ".join(f"{a:.3f}" for a in table[-1])
            print(f"seed {seed}, {way}: after the last task {last}", flush=True)
    means = {
        way: statistics.mean(statistics.mean(table[-1]) for table in tables)
        for way, tables in found.items()
    }
    for way, mean in means.items():
        newest = statistics.mean(table[-1][-1] for table in found[way])
        print(f"{way:<8} mean over all tasks {mean:.3f}, of the newest task {newest:.3f}")
    is_whole = not options.quick and set(options.ways) == set(WAYS)
    if is_whole:
        contents = {
            "seeds": seeds,
            "temperature": options.temperature,
            "epochs": epochs,
            "accuracy by task after each task": found,
        }
        text = json.dumps(contents, indent=1)
        (HERE / "results.json").write_text(text + "\n", "utf-8")
    print(last_line("continual_learning", means, {}))


if __name__ == "__main__":
    main()
