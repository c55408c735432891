"""The tables of the README, from results.json.

python -m studies.binary_weight_methods.tables           # prints them
python -m studies.binary_weight_methods.tables --write   # puts them into README.md
"""

import argparse
import tomllib

import numpy as np

from studies.binary_weight_methods.methods import METHODS, OURS
from studies.binary_weight_methods.run import (
    ACTIVATIONS,
    DATA,
    DEEP_4,
    HERE,
    JUDGED,
    KINDS,
    OUR_ENSEMBLE,
    SINGLE,
    Study,
    everything,
    judged,
    named,
)
from studies.binary_weight_methods.scores import interval

START, END = "<!-- tables: written by tables.py -->", "<!-- end of tables -->"
COLUMNS = (
    "method",
    "accuracy %",
    "NLL scaled",
    "NLL raw",
    "ECE scaled %",
    "ECE raw %",
    "bits/weight",
    "seconds",
)
TITLES = {"relu": "Real activations", "sign": "±1 activations"}


def row(name: str, scaled: dict[str, list[float]], raw: dict[str, list[float]]) -> str:
    """Scores of a method, each kind with the settings chosen by it."""
    nll, half = interval(scaled["nll scaled"])
    raw_nll, raw_half = interval(raw["nll raw"])
    accuracy, accuracy_half = interval([100 * value for value in scaled["accuracy"]])
    bits = scaled.get("bits per weight")
    cells = [
        name,
        f"{accuracy:.2f} ± {accuracy_half:.2f}",
        f"{nll:.4f} ± {half:.4f}",
        f"{raw_nll:.4f} ± {raw_half:.4f}",
        f"{100 * np.mean(scaled['ece scaled']):.2f}",
        f"{100 * np.mean(raw['ece raw']):.2f}",
        "" if bits is None else f"{np.mean(bits):.2f}",
        f"{np.mean(scaled['seconds']):.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def scores_table(study: Study, activation: str, data: str) -> list[str]:
    """A row a method."""
    scaled, raw = (everything(study, activation, data, kind) for kind in ("scaled", "raw"))
    return [
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
        *(row(name, scaled[name], raw[name]) for name in scaled),
    ]


def differences_table(
    study: Study, activation: str, data_sets: list[str], kind: str, ours: str
) -> list[str]:
    """NLL of ours less that of a rival, seed by seed; of the mixture, less one fit's too."""
    rivals = [*SINGLE, DEEP_4, DEEP_4.replace("4", "8")]
    if ours != OUR_ENSEMBLE:
        rivals.append(OUR_ENSEMBLE)
    lines = [f"| {ours}, less | {' | '.join(data_sets)} |", "|---" * (1 + len(data_sets)) + "|"]
    finals = {data: everything(study, activation, data, kind) for data in data_sets}
    for rival in rivals:
        cells = []
        for found in finals.values():
            own, other = (np.array(found[name][f"nll {kind}"]) for name in (ours, rival))
            mean, half = interval(own - other)
            cells.append(f"{mean:+.4f} ± {half:.4f}")
        lines.append(f"| {rival} | {' | '.join(cells)} |")
    return lines


def bars_table(verdicts: dict[str, dict[str, float]], asked: dict[str, float]) -> list[str]:
    """What is asked, and what came out by each kind of NLL."""
    lines = [f"| asked | bar | {' | '.join(verdicts)} |", "|---" * (2 + len(verdicts)) + "|"]
    for name, bar in asked.items():
        sense = "at most" if name.endswith("most bits per weight") else "at least"
        cells = [f"{own[name]:.3g}" for own in verdicts.values()]
        lines.append(f"| {name} | {sense} {bar:g} | {' | '.join(cells)} |")
    return lines


def settings_table(study: Study, activation: str, data_sets: list[str]) -> list[str]:
    """What was chosen by the scaled NLL, and by how many seeds."""
    lines = ["| data | method | chosen (seeds) |", "|---|---|---|"]
    for data in data_sets:
        for method in METHODS:
            if not METHODS[method].grid:
                continue
            chosen = list(study.chosen(activation, data, method, "scaled").values())
            counts = "; ".join(f"{key} ({chosen.count(key)})" for key in dict.fromkeys(chosen))
            lines.append(f"| {data} | {method} | {counts} |")
    return lines


def grid_table(study: Study, activation: str, data_sets: list[str]) -> list[str]:
    """Mean validation NLL, scaled, of our ensemble under each setting."""
    lines = [f"| setting | {' | '.join(data_sets)} |", "|---" * (1 + len(data_sets)) + "|"]
    by = METHODS[OURS].chosen_by
    for options in study.grid(activation, OURS):
        kept = [study.results[activation][data][OURS][named(options)] for data in data_sets]
        cells = [f"{np.mean(each[by]['validation nll scaled']):.4f}" for each in kept]
        lines.append(f"| {named(options)} | {' | '.join(cells)} |")
    return lines


def complete(study: Study, activation: str) -> list[str]:
    """The data sets of which every method has all its fits."""
    found = []
    for data in DATA:
        try:
            for kind in KINDS:
                everything(study, activation, data, kind)
        except KeyError:
            continue
        found.append(data)
    return found


def tables(study: Study) -> str:
    """All of them, in Markdown."""
    asked = tomllib.loads((HERE / "expected.toml").read_text("utf-8"))["asked"]
    parts: list[str] = []
    for activation in ACTIVATIONS:
        data_sets = complete(study, activation)
        if not data_sets:
            continue
        parts += [f"## {TITLES[activation]}", ""]
        for data in data_sets:
            parts += [f"### {data}", "", *scores_table(study, activation, data), ""]
        verdicts = {}
        for kind in KINDS:
            parts += [f"### Paired differences of the NLL, {kind}", ""]
            for ours in JUDGED.values():
                parts += [*differences_table(study, activation, data_sets, kind, ours), ""]
            finals = {data: everything(study, activation, data, kind) for data in data_sets}
            verdicts[kind] = judged(finals, kind)
        parts += [f"### What is asked, of {len(data_sets)} data sets", ""]
        parts += [*bars_table(verdicts, asked), ""]
        parts += ["### Chosen settings", "", *settings_table(study, activation, data_sets), ""]
        parts += ["### Validation NLL of ours by setting", ""]
        parts += [*grid_table(study, activation, data_sets), ""]
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put them into README.md")
    options = parser.parse_args(arguments)
    text = tables(Study(HERE / "results.json"))
    if not options.write:
        print(text)
        return
    path = HERE / "README.md"
    before, rest = path.read_text("utf-8").split(START)
    after = rest.split(END)[1]
    path.write_text(f"{before}{START}\n\n{text}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
