r"""In what share of trained networks the published orderings hold.

    python -m studies.gradient_accuracy.shares            seeds 1 to 100, writes shares.json
    python -m studies.gradient_accuracy.shares --quick    20 seeds up to epoch 100, writes nothing

The figure of the paper shows one training.  Here the same experiment is run from many seeds, the
data unchanged, and the exact law of psa, st, zgr and the score function is computed for every
network (``recursion.py``).  A share of networks is reported with the interval of Clopper and
Pearson, 95 %.  No seed is left out.  The last line is one JSON object.
"""

import argparse
import json
import math
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from studies.gradient_accuracy.network import (
    CHECKPOINTS,
    Array,
    Data,
    Parameters,
    make_data,
    train,
)
from studies.gradient_accuracy.recursion import ESTIMATORS, recursive_law
from studies.gradient_accuracy.run import AVERAGED, LAYERS
from studies.speed.measure import last_line

HERE = Path(__file__).parent
PAIRS = (("psa", "st"), ("st", "score"), ("psa", "zgr"))
"""The first is to have the smaller error."""


def errors(parameters: Parameters, data: Data) -> dict[str, Array]:
    """Relative errors of each estimator, (layers, numbers of averaged draws)."""
    truth = recursive_law(parameters, "score", data).mean
    found = {}
    for name in ESTIMATORS:
        law = recursive_law(parameters, name, data)
        rows = [
            [
                math.sqrt(((m - g) ** 2).sum() + v / number) / np.linalg.norm(g)
                for number in AVERAGED
            ]
            for m, v, g in zip(law.mean, law.variance, truth, strict=True)
        ]
        found[name] = np.array(rows)
    return found


def lengths(parameters: Parameters, data: Data) -> dict[str, Array]:
    """The norm of each estimator's mean over that of the exact gradient, (layers,)."""
    means = {name: recursive_law(parameters, name, data).mean for name in ESTIMATORS}
    norms = {name: np.array([np.linalg.norm(m) for m in mean]) for name, mean in means.items()}
    return {name: norm / norms["score"] for name, norm in norms.items()}


def summarise(
    networks: list[dict[int, Parameters]], data: Data, published: dict[str, Any]
) -> dict[str, Any]:
    """Shares of orderings, quantiles of the errors, and how long the means are."""
    shares, spread, length = [], {}, {}
    for epoch in networks[0]:
        each = [errors(network[epoch], data) for network in networks]
        stacked = {name: np.stack([one[name] for one in each]) for name in ESTIMATORS}
        for first, second in PAIRS:
            for k, layer in enumerate(LAYERS[:-1]):
                for j, number in enumerate(AVERAGED):
                    count = int((stacked[first][:, k, j] < stacked[second][:, k, j]).sum())
                    interval = binomtest(count, len(each)).proportion_ci()
                    shares.append(
                        {
                            "epoch": epoch,
                            "layer": layer,
                            "averaged": number,
                            "order": [first, second],
                            "share": count / len(each),
                            "interval": [round(interval.low, 3), round(interval.high, 3)],
                        }
                    )
        spread[str(epoch)] = {
            name: {
                layer: _spread(stacked[name][:, k], published.get(str(epoch), {}), name, layer)
                for k, layer in enumerate(LAYERS)
            }
            for name in ESTIMATORS
        }
        long = [lengths(network[epoch], data) for network in networks]
        length[str(epoch)] = {
            name: np.median([one[name] for one in long], 0).round(3).tolist() for name in ESTIMATORS
        }
    return {
        "networks": len(networks),
        "shares": shares,
        "errors": spread,
        "median length of the mean": length,
    }


def _spread(found: Array, published: dict[str, Any], name: str, layer: str) -> dict[str, Any]:
    """5, 50 and 95 % of the networks' errors, and the share with smaller ones than published."""
    quantiles = np.quantile(found, (0.05, 0.5, 0.95), axis=0).T
    by_number: dict[str, Any] = {
        str(number): [float(f"{value:.3g}") for value in row]
        for number, row in zip(AVERAGED, quantiles, strict=True)
    }
    if name in published:
        known = np.array(published[name][layer])
        by_number["share below the published error"] = (found < known).mean(0).round(3).tolist()
    return by_number


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20 seeds, epochs 1 and 100")
    parser.add_argument("--seeds", type=int, help="how many, from 1 on")
    parser.add_argument("--epochs", type=int, nargs="+", help="checkpoints")
    options = parser.parse_args(arguments)
    expected = tomllib.loads((HERE / "expected.toml").read_text("utf-8"))
    seeds = range(1, (options.seeds or (20 if options.quick else 100)) + 1)
    epochs = options.epochs or ([1, 100] if options.quick else CHECKPOINTS)
    data = make_data()
    found = summarise(train(data, seeds, epochs), data, expected["published"])
    for each in found["shares"]:
        low, high = each["interval"]
        print(
            f"epoch {each['epoch']}, {each['layer']}, {each['averaged']} averaged: "
            f"{' below '.join(each['order'])} in {each['share']:.2f} of networks "
            f"({low:.2f} to {high:.2f})"
        )
    if not options.quick:
        (HERE / "shares.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    values = {
        f"psa below st, epoch {e['epoch']}, {e['layer']}, 1000 averaged": e["share"]
        for e in found["shares"]
        if e["order"] == ["psa", "st"] and e["averaged"] == 1000
    }
    print(last_line("gradient_accuracy/shares", values, dict.fromkeys(values, 0.5)))


if __name__ == "__main__":
    main()
