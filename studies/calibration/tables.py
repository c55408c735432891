"""The tables of the README, from results/ and expected.toml.

python -m studies.calibration.tables           # prints them
python -m studies.calibration.tables --write   # puts them into README.md
"""

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from studies.calibration import inputs, outside, scores
from studies.calibration.methods import BINARIES, METHODS
from studies.calibration.records import HERE, RESULTS
from studies.calibration.run import CLASSIFICATION, IMAGES, REGRESSION

START, END = "<!-- tables: written by tables.py -->", "<!-- end of tables -->"
JUDGED = {REGRESSION: "log-likelihood", CLASSIFICATION: "nll"}
TITLES = {
    REGRESSION: "UCI regression",
    CLASSIFICATION: "UCI classification",
    IMAGES: "MNIST against notMNIST",
}


def number(mean: float, error: float, digits: int) -> str:
    """A mean with its standard error."""
    return f"{mean:.{digits}f}" + ("" if np.isnan(error) else f" ± {error:.{digits}f}")


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def of_data_set(
    records: dict[str, Any], columns: tuple[str, ...], published: dict[str, Any]
) -> list[str]:
    """A row a method, here and as published."""
    rows = []
    for name in METHODS:
        own = list(records.get(name, {}).values())
        if own:
            cells = [number(*scores.mean_and_error([r[c] for r in own]), 3) for c in columns]
            rows.append(
                [name, *cells, str(len(own)), f"{np.mean([r['seconds'] for r in own]):.1f}"]
            )
    names = dict.fromkeys(name for each in published.values() for name in each)
    for name in names:
        pairs = [published.get(c, {}).get(name) for c in columns]
        cells = ["" if pair is None else number(*pair, 2) for pair in pairs]
        rows.append([f"*{name}, published*", *cells, "20", ""])
    return table(["method", *columns, "splits", "seconds"], rows)


def differences(records: dict[str, Any], score: str) -> list[str]:
    """Each binary network less each rival, split by split."""
    known = [name for name in METHODS if any(name in each for each in records.values())]
    rivals = [name for name in known if name not in BINARIES]
    rows = []
    for data, methods in records.items():
        for name in (name for name in BINARIES if name in methods):
            own, cells = methods[name], []
            for rival in rivals:
                both = [split for split in own if split in methods.get(rival, {})]
                gaps = [own[split][score] - methods[rival][split][score] for split in both]
                found = scores.mean_and_error(gaps) if gaps else (np.nan, np.nan)
                cells.append(f"{found[0]:+.3f} ± {found[1]:.3f}" if gaps else "")
            rows.append([data, name, *cells])
    return table(["data set", f"{score} of", *(f"less {rival}" for rival in rivals)], rows)


def choices(records: dict[str, Any]) -> list[str]:
    """How often each setting was chosen."""
    rows = []
    for data, methods in records.items():
        for name, own in methods.items():
            settings = [record["setting"] for record in own.values()]
            counts = sorted({s: settings.count(s) for s in settings}.items(), key=lambda p: -p[1])
            if len(own[next(iter(own))]["choosing"]) > 1:
                rows.append([data, name, "; ".join(f"{s} ({n})" for s, n in counts)])
    return table(["data set", "method", "chosen settings (splits)"], rows)


def of_images(records: dict[str, Any]) -> list[str]:
    """A row a method with the setting that it chose, means over seeds, and one a score."""
    best = {name: list(each[outside.chosen(each)].values()) for name, each in records.items()}
    names = dict.fromkeys(score for each in best.values() for score in each[0])
    rows = []
    for name in (name for name in names if name not in ("choosing", "seconds")):
        own = [[fit[name] for fit in each if name in fit] for each in best.values()]
        rows.append(
            [name, *(number(*scores.mean_and_error(each), 4) if each else "" for each in own)]
        )
    seconds = [np.mean([fit["seconds"] for fit in each]) for each in best.values()]
    rows.append(["seeds", *(str(len(each)) for each in best.values())])
    rows.append(["seconds", *(f"{mean:.0f}" for mean in seconds)])
    rows.append(["setting", *(outside.chosen(each) for each in records.values())])
    return table(["", *best], rows)


def choices_of_images(records: dict[str, Any]) -> list[str]:
    """NLL of the images that choose, by setting, from the first seed."""
    rows = [
        [name, setting, f"{seeds['1']['choosing']:.4f}"]
        for name, settings in records.items()
        for setting, seeds in settings.items()
    ]
    return table(["method", "setting", "nll of the images that choose"], rows)


def of_inputs(records: dict[str, Any]) -> list[str]:
    """Log-likelihood of the rows that choose: a row a data set, a column a way."""
    rows = [
        [
            name,
            *(
                number(*scores.mean_and_error([r["log-likelihood"] for r in own.values()]), 3)
                for own in ways.values()
            ),
            str(len(next(iter(ways.values())))),
        ]
        for name, ways in records.items()
    ]
    return table(["data set", *inputs.WAYS, "splits"], rows)


def tables(folder: Path) -> str:
    """All that there are records for."""
    published = tomllib.loads((HERE / "expected.toml").read_text("utf-8"))["published"]
    parts: list[str] = []
    for part, title in TITLES.items():
        path = folder / f"{part}.json"
        if not path.exists():
            continue
        records = json.loads(path.read_text("utf-8"))
        parts += [f"## {title}", ""]
        if part == IMAGES:
            parts += [*of_images(records), "", "### Choices", "", *choices_of_images(records), ""]
            continue
        columns = scores.REGRESSION if part == REGRESSION else scores.CLASSIFICATION
        for data, methods in records.items():
            beside = published.get(data, {}) if part == REGRESSION else {}
            parts += [f"### {data}", "", *of_data_set(methods, columns, beside), ""]
        parts += ["### Paired differences", "", *differences(records, JUDGED[part]), ""]
        parts += ["### Choices", "", *choices(records), ""]
    path = folder / inputs.FILE
    if path.exists():
        records = json.loads(path.read_text("utf-8"))
        parts += ["## Inputs of the first layer", "", *of_inputs(records), ""]
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put them into README.md")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    options = parser.parse_args(arguments)
    text = tables(options.results)
    if not options.write:
        print(text)
        return
    path = HERE / "README.md"
    before, rest = path.read_text("utf-8").split(START)
    after = rest.split(END)[1]
    new = path.with_suffix(".new")
    new.write_text(f"{before}{START}\n\n{text}\n{END}{after}", "utf-8")
    new.replace(path)


if __name__ == "__main__":
    main()
