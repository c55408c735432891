r"""Posteriors over ±1 weights against Bop, BayesBiNN, STE-Adam, deep ensembles and real weights.

    python -m studies.binary_weight_methods.run            # everything, into results.json
    python -m studies.binary_weight_methods.run --quick    # two moons, a setting a method
    python -m studies.binary_weight_methods.tables         # the tables of the README
    python -m studies.binary_weight_methods.figure         # nll.png

Each method chooses its setting on validation rows; those with the same test rows choose together.
A fit that results.json has is not made again, so that a killed run goes on.  The last line is one
JSON object.
"""

import argparse
import json
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch

from studies.binary_weight_methods.data import FOLDS, SEEDS, Problem, load
from studies.binary_weight_methods.methods import DEEP, METHODS, OURS, RESTARTS, STE, Options
from studies.binary_weight_methods.scores import interval, scores
from studies.speed.measure import last_line

HERE = Path(__file__).parent
DATA = ("digits", "cancer", "moons")
ACTIVATIONS = ("relu", "sign")
KINDS = ("raw", "scaled")
"""Of NLL: of probabilities as they come, and scaled; each is judged with settings of its own."""

Results = dict[str, Any]
"""By activations, data set, method and setting: seeds, seconds a network, bits a weight, and scores
by predictor, each a list with a number for each seed."""


def named(options: Options) -> str:
    """A setting as a key."""
    return ", ".join(f"{name} {value:g}" for name, value in options.items())


def choosing_together(data: str, seeds: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Seeds whose validation NLLs are averaged to choose a setting.

    None of their validation rows may be a test row of one of them: those with the same fold, and
    all seeds of two moons, whose rows are all new.
    """
    if data == "moons":
        return [seeds]
    folds = [tuple(seed for seed in seeds if seed % FOLDS == fold) for fold in range(FOLDS)]
    return [together for together in folds if together]


class Study:
    """Fits that are made once and kept.

    Args:
        path: of the results, or None to keep nothing.
        seeds: of the splits.
        epochs: factor of the numbers of epochs.
        settings: how many of each grid, from its end; None takes all.
    """

    def __init__(
        self,
        path: Path | None,
        seeds: tuple[int, ...] = SEEDS,
        epochs: float = 1.0,
        settings: int | None = None,
    ) -> None:
        self.path, self.seeds, self.epochs, self.settings = path, seeds, epochs, settings
        self.results: Results = {}
        if path is not None and path.exists():
            self.results = json.loads(path.read_text("utf-8"))

    def grid(self, activation: str, method: str) -> list[Options]:
        """The settings among which a method chooses."""
        whole = METHODS[method].grid[activation]
        return whole if self.settings is None else whole[-self.settings :]

    def problem(self, data: str, seeds: tuple[int, ...], share: float) -> Problem:
        """A data set, with a share of its epochs."""
        whole = load(data, seeds)
        return replace(whole, epochs=max(1, round(whole.epochs * share * self.epochs)))

    def fit(
        self, activation: str, data: str, method: str, options: Options, seeds: tuple[int, ...]
    ) -> dict[str, Any]:
        """Scores of one setting, from the file or made now."""
        kept = self.results.setdefault(activation, {}).setdefault(data, {}).setdefault(method, {})
        key = named(options)
        if key in kept and set(seeds) <= set(kept[key]["seeds"]):
            return kept[key]
        own = dict(options)
        problem = self.problem(data, seeds, own.pop("epochs"))
        started = time.process_time()
        found, bits = METHODS[method].fit(problem, activation, own, 1000 * (1 + seeds[0]))
        seconds = (time.process_time() - started) / len(seeds)
        record: dict[str, Any] = {"seeds": list(seeds), "seconds": seconds}
        if bits is not None:
            record["bits per weight"] = bits
        for predictor, pairs in found.items():
            each = [
                scores(*pair, (split.validation.y, split.test.y))
                for pair, split in zip(pairs, problem.splits, strict=True)
            ]
            record[predictor] = {name: [own[name] for own in each] for name in each[0]}
        kept[key] = rounded(record)
        self.save()
        nll = {p: round(float(np.mean(record[p]["validation nll scaled"])), 4) for p in found}
        print(f"{activation}, {data}, {method}, {key}: {seconds:.1f} s, {nll}", flush=True)
        return kept[key]

    def save(self) -> None:
        """At once, or not at all."""
        if self.path is None:
            return
        new = self.path.with_suffix(".new")
        new.write_text(compact(self.results), "utf-8")
        new.replace(self.path)

    def tune(self, activation: str, data: str, method: str) -> None:
        """Fit every setting; of restarts and deep ensembles, those chosen for one training."""
        of = METHODS[method].settings_of
        if of is None:
            for options in self.grid(activation, method):
                self.fit(activation, data, method, options, self.seeds)
            return
        choices = [self.chosen(activation, data, of, kind) for kind in KINDS]
        for options in self.grid(activation, of):
            key = named(options)
            seeds = tuple(seed for seed in self.seeds if key in [own[seed] for own in choices])
            if seeds:
                self.fit(activation, data, method, options, seeds)

    def chosen(self, activation: str, data: str, method: str, kind: str) -> dict[int, str]:
        """The setting of each seed: the least validation NLL, of those choosing together.

        Args:
            activation: one of ``ACTIVATIONS``.
            data: name of the data set.
            method: that chooses.
            kind: ``"raw"`` or ``"scaled"``: of the NLL.
        """
        method = METHODS[method].settings_of or method
        kept = self.results[activation][data][method]
        settings = [named(options) for options in self.grid(activation, method)]
        by = METHODS[method].chosen_by
        choice = {}
        for together in choosing_together(data, self.seeds):
            places = [self.seeds.index(seed) for seed in together]

            def mean(setting: str, places: list[int] = places) -> float:
                values = kept[setting][by][f"validation nll {kind}"]
                return float(np.mean([values[place] for place in places]))

            best = min(settings, key=mean)
            choice.update(dict.fromkeys(together, best))
        return choice

    def final(
        self, activation: str, data: str, method: str, kind: str
    ) -> dict[str, dict[str, list[float]]]:
        """Scores of the settings chosen by that kind of NLL, by predictor, a number a seed."""
        choice = self.chosen(activation, data, method, kind)
        kept = self.results[activation][data][method]
        found: dict[str, dict[str, list[float]]] = {}
        for seed in self.seeds:
            record = kept[choice[seed]]
            place = record["seeds"].index(seed)
            for predictor, own in record.items():
                if not isinstance(own, dict):
                    continue
                scored = found.setdefault(predictor, {})
                for name, values in own.items():
                    scored.setdefault(name, []).append(values[place])
                scored.setdefault("seconds", []).append(record["seconds"])
                if "bits per weight" in record:
                    scored.setdefault("bits per weight", []).append(
                        record["bits per weight"][place]
                    )
        return found


def everything(
    study: Study, activation: str, data: str, kind: str
) -> dict[str, dict[str, list[float]]]:
    """Final scores of all methods, by "method" or "method, predictor"."""
    found = {}
    for method in METHODS:
        for predictor, own in study.final(activation, data, method, kind).items():
            name = method if predictor == "network" else f"{method}, {predictor}"
            found[name] = own
    return found


OUR_ENSEMBLE = f"{OURS}, {METHODS[OURS].chosen_by}"
OUR_4 = f"{RESTARTS}, mixture of 4"
DEEP_4 = f"{DEEP}, ensemble of 4"
JUDGED = {"": OUR_ENSEMBLE, "mixture of 4: ": OUR_4}
"""By what stands before the names of its bars."""

SINGLE = ("bayesbinn", "bop", STE, "full precision")
"""Networks of which one predicts alone."""

Finals = dict[str, dict[str, dict[str, list[float]]]]
"""By data set, method and column: a number for each seed."""


def judged(finals: Finals, kind: str) -> dict[str, float]:
    """Where the mean NLL of ours is no higher than others', and what a weight's entropy is.

    Of the ensemble of one fit, and in the same way of the mixture of 4.
    """

    def mean(data: str, name: str) -> float:
        return float(np.mean(finals[data][name][f"nll {kind}"]))

    verdict: dict[str, float] = {}
    for start, ours in JUDGED.items():
        for names, words in (
            (SINGLE[:-1], "each ±1-weight network"),
            (SINGLE, "each network"),
            ((DEEP_4,), "the deep ensemble of 4"),
        ):
            verdict[f"{start}data sets no higher than {words}"] = sum(
                mean(data, ours) <= min(mean(data, name) for name in names) for data in finals
            )
        bits = [value for found in finals.values() for value in found[ours]["bits per weight"]]
        verdict[f"{start}least bits per weight"] = min(bits)
        verdict[f"{start}most bits per weight"] = max(bits)
    return verdict


def rounded(value: Any) -> Any:
    """The same with five digits."""
    return json.loads(json.dumps(value), parse_float=lambda text: float(f"{float(text):.5g}"))


def compact(results: Results) -> str:
    """JSON with a line for each predictor of a setting."""
    lines = json.dumps(results, indent=1).replace("\n      ", " ").replace("\n     ]", "]")
    return lines + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a look at two moons, nothing kept")
    parser.add_argument("--activations", nargs="+", choices=ACTIVATIONS, default=list(ACTIVATIONS))
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--results", type=Path, default=HERE / "results.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    pyro.enable_validation(False)
    if options.quick:
        study, data_sets = Study(None, (0, 1, 2), 0.2, settings=1), ["moons"]
    else:
        study, data_sets = Study(options.results), options.data
    for activation in options.activations:
        for method in options.methods:
            for data in data_sets:
                study.tune(activation, data, method)
    if set(options.methods) != set(METHODS):
        return  # a part, from which there is nothing to compare
    expected = tomllib.loads((HERE / "expected.toml").read_text("utf-8"))
    for activation in options.activations:
        for kind in KINDS:
            finals = {data: everything(study, activation, data, kind) for data in data_sets}
            for data, found in finals.items():
                for name, own in found.items():
                    mean, half = interval(own[f"nll {kind}"])
                    print(f"{activation}, {data}, {name}: NLL {kind} {mean:.4f} ± {half:.4f}")
            name = f"binary_weight_methods, {activation}, {kind}"
            print(last_line(name, judged(finals, kind), expected["asked"]))


if __name__ == "__main__":
    main()
