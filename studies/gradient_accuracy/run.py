r"""Root mean square error and cosine of gradient estimates, on the network of the PSA paper.

    python -m studies.gradient_accuracy.run            trains, measures, writes the results here
    python -m studies.gradient_accuracy.run --quick    epoch 100 on 24 points, writes nothing

For M averaged draws the relative error is ``sqrt(bias^2 + variance / M) / |g|``, exact where the
estimator is a function of the states alone (see ``exact.py``), else from repeats.  Cosines are
means over groups of M sampled draws.  The last line is one JSON object.
"""

import argparse
import json
import math
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch

import bayes_sbn as sbn
from studies.gradient_accuracy.exact import Chosen, Law, enumerated_law, is_enumerable
from studies.gradient_accuracy.network import (
    Array,
    Data,
    PaperNetwork,
    Parameters,
    make_data,
    train,
)
from studies.speed.measure import last_line

HERE = Path(__file__).parent
LAYERS = ("layer 1", "layer 2", "layer 3", "head")
AVERAGED = (1, 10, 100, 1000)
"""Numbers of averaged draws."""

AT_ONCE = 50
"""Estimates by one backward pass."""


class MeanUnits(sbn.Estimator):
    """The paper's ``tanh``: units replaced by their means, which nothing is drawn for."""

    output = "relaxed"

    def draw(self, site: sbn.estimators.Site, uniform: torch.Tensor) -> torch.Tensor:
        """``E[x]``, tanh(a / 2) for logistic noise."""
        del uniform  # nothing is drawn
        return site.fn.mean_path()


def registered() -> list[str]:
    """Those that the package registers, but ``exact``, which is the truth of the others."""
    names = [line.split()[0] for line in sbn.estimators.table().splitlines()[2:]]
    made = {name: sbn.estimators.get_estimator(name) for name in names if name != "exact"}
    return [name for name, one in made.items() if type(one).__module__.startswith("bayes_sbn.")]


def estimators() -> dict[str, Chosen]:
    """Those of the study by the names of the results.

    The Concrete relaxation has the paper's two temperatures; ``local_reparametrisation`` is for ±1
    weights, and would leave the units of this network to psa.
    """
    chosen: dict[str, Chosen] = {
        name: name for name in registered() if name not in ("concrete", "local_reparametrisation")
    }
    chosen |= {f"concrete-{t}": sbn.estimators.Concrete(temperature=t) for t in (0.1, 1)}
    return dict(sorted(chosen.items())) | {"tanh": MeanUnits()}


def sampled(
    parameters: Parameters, estimator: Chosen, data: Data, repeats: int, seed: int
) -> Array:
    """Gradients of the mean loss, (repeats, entries), layer by layer as in :class:`Law`."""
    torch.manual_seed(seed)
    number = sbn.estimators.get_estimator(estimator).particles
    elbo = sbn.TraceEstimator_ELBO(
        estimator, num_particles=number, vectorize_particles=number > 1, max_plate_nesting=2
    )
    x, y = torch.tensor(data.x), torch.tensor(data.y[:, None] > 0).double()
    rows = []
    for start in range(0, repeats, AT_ONCE):
        network = PaperNetwork(parameters, min(AT_ONCE, repeats - start))
        loss = elbo.differentiable_loss(network.model, network.guide, x, y)
        gradient = torch.autograd.grad(loss, list(network.blocks.values()))
        rows.append(torch.cat([g.flatten(1) for g in gradient], 1) / len(x))
    return torch.cat(rows).numpy()


def measured(samples: Array, law: Law | None, truth: list[Array]) -> dict[str, dict[str, Any]]:
    """Bias, deviation, errors and cosines by layer, relative to the exact gradient."""
    found, start = {}, 0
    for k, (name, exact) in enumerate(zip(LAYERS, truth, strict=True)):
        draws = samples[:, start : start + len(exact)]
        start += len(exact)
        norm = float(np.linalg.norm(exact))
        mean = draws.mean(0)
        if law is None:
            variance = float(draws.var(0, ddof=1).sum())
            square = float(((mean - exact) ** 2).sum()) - variance / len(draws)
        else:
            variance = law.variance[k]
            square = float(((law.mean[k] - exact) ** 2).sum())
            draws = draws - mean + law.mean[k]  # the samples' own mean is known better
        square = max(square, 0.0)
        cosines = {}
        for number in AVERAGED:
            groups = len(draws) // number
            if groups < 4:
                continue
            averages = draws[: groups * number].reshape(groups, number, -1).mean(1)
            lengths = np.linalg.norm(averages, axis=1) * norm
            # an estimate of 0 points nowhere: its cosine counts as 0
            each = averages @ exact / np.where(lengths > 0, lengths, 1.0)
            cosines[str(number)] = float(each.mean())
        found[name] = {
            "bias": math.sqrt(square) / norm,
            "std": math.sqrt(variance) / norm,
            "rmse": {str(m): math.sqrt(square + variance / m) / norm for m in AVERAGED},
            "cosine": cosines,
        }
    return found


def measure(
    parameters: Parameters, data: Data, chosen: dict[str, Chosen], repeats: int, seed: int
) -> dict[str, Any]:
    """Every estimator at one checkpoint."""
    network = PaperNetwork(parameters)
    unbiased = enumerated_law(network, "score", data)
    truth = unbiased.mean
    found = {}
    for name, estimator in chosen.items():
        law = unbiased if name == "score" else None
        if law is None and is_enumerable(network, estimator, data):
            law = enumerated_law(network, estimator, data)
        samples = sampled(parameters, estimator, data, repeats, seed)
        found[name] = {"exact": law is not None, **measured(samples, law, truth)}
        print(f"  {name}: " + ", ".join(f"{found[name][k]['rmse']['1']:.3g}" for k in LAYERS))
    return found


def compare(results: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """The published orderings that did not come out, in words."""
    failures = []
    for rule in expected["orderings"]:
        for epoch in (str(e) for e in rule["epochs"]):
            if epoch not in results:
                continue
            for layer in rule["layers"]:
                errors = [
                    results[epoch][n][layer]["rmse"][str(rule["averaged"])] for n in rule["order"]
                ]
                if sorted(errors) != errors:
                    failures.append(
                        f"epoch {epoch}, {layer}, {rule['averaged']} averaged: "
                        + " ".join(
                            f"{n} {e:.3g}" for n, e in zip(rule["order"], errors, strict=True)
                        )
                    )
    return failures


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="epoch 100 on 24 points, nothing written"
    )
    parser.add_argument("--points", type=int, help="points of the evaluation, evenly taken")
    parser.add_argument("--estimators", nargs="+", help="only these; of others the results stay")
    parser.add_argument("--epochs", type=int, nargs="+", help="checkpoints")
    parser.add_argument("--repeats", type=int, help="sampled gradients an estimator, 4000")
    parser.add_argument("--seed", type=int, default=1, help="1 is the authors'")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    pyro.enable_validation(False)  # of a million rows, it takes more time than the gradients
    expected = tomllib.loads((HERE / "expected.toml").read_text("utf-8"))
    epochs = options.epochs or ([100] if options.quick else expected["checkpoints"])
    repeats = options.repeats or (1000 if options.quick else 4000)
    data = make_data()
    (kept,) = train(data, [options.seed], epochs)
    count = options.points or (24 if options.quick else len(data.x))
    rows = np.linspace(0, len(data.x) - 1, count).round().astype(int)
    points = Data(data.x[rows], data.y[rows])
    chosen = estimators()
    if options.estimators:
        chosen = {name: chosen[name] for name in options.estimators}
    results: dict[str, Any] = {}
    for epoch in epochs:
        print(f"epoch {epoch}: relative error of one draw in {', '.join(LAYERS)}")
        results[str(epoch)] = measure(kept[epoch], points, chosen, repeats, options.seed)
        if not options.quick:
            write(results, kept, expected)
    if options.estimators:
        return  # an ordering is one of all
    failures = compare(results, expected)
    for failure in failures:
        print(f"not as published: {failure}")
    number = sum(
        len(r["layers"]) * sum(str(e) in results for e in r["epochs"])
        for r in expected["orderings"]
    )
    print(
        last_line(
            "gradient_accuracy",
            {"orderings as published": float(number - len(failures))},
            {"orderings as published": float(number)},
        )
    )


def write(results: dict[str, Any], kept: dict[int, Any], expected: dict[str, Any]) -> None:
    """results.json, checkpoints.json and the figures; other epochs and estimators stay there."""
    from studies.gradient_accuracy.figure import PUBLISHED, draw, later

    numbers, weights = HERE / "results.json", HERE / "checkpoints.json"
    epochs = json.loads(numbers.read_text("utf-8"))["epochs"] if numbers.exists() else {}
    new = json.loads(json.dumps(results), parse_float=lambda text: float(f"{float(text):.4g}"))
    for key, found in new.items():
        merged = epochs.get(key, {}) | found
        epochs[key] = {name: merged[name] for name in estimators() if name in merged}
    epochs = {key: epochs[key] for key in sorted(epochs, key=int)}
    contents = {"not_as_published": compare(epochs, expected), "epochs": epochs}
    numbers.write_text(json.dumps(contents, indent=1) + "\n", "utf-8")
    networks = json.loads(weights.read_text("utf-8")) if weights.exists() else {}
    networks |= {str(epoch): [[w.tolist(), b.tolist()] for w, b in kept[epoch]] for epoch in kept}
    networks = {key: networks[key] for key in sorted(networks, key=int)}
    weights.write_text(json.dumps(networks) + "\n", "utf-8")
    draw(epochs, PUBLISHED).savefig(HERE / "rmse.png", dpi=80)
    draw(epochs, PUBLISHED, "cosine").savefig(HERE / "cosine.png", dpi=80)
    draw(epochs, later(epochs)).savefig(HERE / "rmse_later.png", dpi=80)


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    main()
