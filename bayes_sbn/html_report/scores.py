"""Scores with intervals, and what they are class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bayes_sbn import metrics
from bayes_sbn.html_report.markup import Markup, element, name_of, table
from bayes_sbn.html_report.material import Material
from bayes_sbn.html_report.page import Section, cards
from bayes_sbn.html_report.words import counted, number, percent

MATRIX_CLASSES = 20
"""Classes of which the whole table of confusions is shown, at most."""

MISTAKES = 12
"""The most frequent confusions that are listed where the table is not shown."""


@dataclass(frozen=True)
class Score:
    """A number of the table; its interval is None where there is none."""

    metric: str
    value: float
    interval: tuple[float, float] | None
    convention: str


def class_scores(material: Material) -> tuple[Section, list[tuple[str, str, str]]]:
    """The section of the scores of class probabilities, and the cards at the top."""
    pred, y = material.classes, material.y
    found = metrics.report(
        pred, y, bootstrap=material.bootstrap, level=material.level, seed=material.seed
    )
    scores = [Score(r.metric, r.value, (r.low, r.high), r.convention) for r in found]
    confidence = float(pred.mean.max(axis=-1).mean())
    accuracy = found["accuracy"].value
    gap = confidence - accuracy
    single = float((pred.probs_per_draw.argmax(-1) == y).mean())
    words = [
        f"Of {counted(len(y), 'test row')} {percent(accuracy)} are predicted right by the mean of "
        f"{counted(material.draws, 'network')}; a single network gets {percent(single)} right on "
        "average.",
        f"The mean confidence is {percent(confidence)}, "
        + (
            "as high as the accuracy."
            if abs(gap) < 0.0005
            else f"{100 * abs(gap):.1f} points {'above' if gap > 0 else 'below'} the accuracy: "
            f"predictions are on the whole {'too sure' if gap > 0 else 'not sure enough'}."
        ),
    ]
    numbers = {**found.to_dict(), "mean_confidence": confidence, "single_draw_accuracy": single}
    section = score_section(material, scores, [*words, _uncertainty_words(material)], numbers)
    low, high = (f"{percent(end)}" for end in (found["accuracy"].low, found["accuracy"].high))
    top = [("Accuracy", percent(accuracy), f"{low} to {high}")]
    for metric, name in (("nll", "NLL, nats a row"), ("brier", "Brier score"), ("ece", "ECE")):
        row = found[metric]
        top.append((name, number(row.value), f"{number(row.low)} to {number(row.high)}"))
    top.append(("Mean confidence", percent(confidence), "probability of the predicted class"))
    return section, top


def top_of(items: Sequence[tuple[str, str, str]], material: Material) -> Markup:
    """The cards at the top of the page, with what their small print is."""
    note = f"Below a score: its {100 * material.level:g} % interval, on which more under Scores."
    return Markup(cards(items) + element("p", note, class_="note"))


def _uncertainty_words(material: Material) -> str:
    pred = material.classes
    total = float(pred.entropy.mean())
    share = float(pred.epistemic.mean()) / total if total > 0 else 0.0
    return (
        f"The mean entropy of a prediction is {number(total)} nats, of which "
        f"{percent(share, 0)} is epistemic: the networks disagree, which more data could change."
    )


def score_section(
    material: Material, scores: Sequence[Score], words: Sequence[str], numbers: dict[str, Any]
) -> Section:
    """The section of scores: sentences, the table, and where its intervals come from."""
    rows = []
    for score in scores:
        ends = "" if score.interval is None else " to ".join(map(number, score.interval))
        rows.append((score.metric, number(score.value), ends, score.convention))
    head = ("score", "value", f"{100 * material.level:g} % interval", "what it is")
    note = (
        f"Intervals come from {material.bootstrap:,} resamples of the test rows (seed "
        f"{material.seed}): how far a score would move with another test set of this size. Neither "
        "the chance in the training data nor that in the draws is in them."
    )
    content = [element("p", each) for each in words]
    content += [table(head, rows, wrap=True), element("p", note, class_="note")]
    return Section("scores", "Scores", content, numbers)


def confusions(material: Material) -> Section:
    """Rows of each class and what they were taken for."""
    pred, y, names = material.classes, material.y, material.class_names
    size = len(names)
    counts = np.zeros((size, size), dtype=np.int64)
    np.add.at(counts, (y, pred.mode), 1)
    right, true, taken = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    claimed = pred.mean.sum(axis=0)
    rows = [
        (
            name_of(names[c]),
            f"{true[c]:,}",
            f"{taken[c]:,}",
            f"{claimed[c]:,.1f}",
            _share(right[c], true[c]),
            _share(right[c], taken[c]),
        )
        for c in range(size)
    ]
    head = ("class", "rows", "predicted", "expected", "recall", "precision")
    content = [
        table(head, rows),
        element(
            "p",
            "Expected: the sum of the class's probabilities over the rows, which equals the number "
            "of rows on average if the probabilities are calibrated. Recall: share of the class's "
            "rows predicted right. Precision: share of the rows predicted as the class that are of "
            "it.",
            class_="note",
        ),
        element("h3", "What was taken for what"),
        _matrix(counts, names) if size <= MATRIX_CLASSES else _mistakes(counts, names),
    ]
    numbers = {
        "class_names": list(names),
        "confusions": counts.tolist(),
        "expected": claimed.tolist(),
    }
    return Section("classes", "Classes", content, numbers)


def _matrix(counts: npt.NDArray[np.int64], names: Sequence[str]) -> Markup:
    head = ["true \\ predicted", *map(name_of, names)]
    rows = [
        [
            name_of(name),
            *(
                element("b", f"{n:,}") if i == j else (f"{n:,}" if n else "·")
                for j, n in enumerate(counts[i])
            ),
        ]
        for i, name in enumerate(names)
    ]
    return table(head, rows, caption="Rows of a true class by predicted class")


def _mistakes(counts: npt.NDArray[np.int64], names: Sequence[str]) -> Markup:
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MISTAKES]
    pairs = [divmod(int(k), len(names)) for k in order if wrong.flat[k]]
    if not pairs:
        return element("p", "No row was taken for another class.")
    rows = [
        (
            name_of(names[i]),
            name_of(names[j]),
            f"{wrong[i, j]:,}",
            _share(wrong[i, j], counts[i].sum()),
        )
        for i, j in pairs
    ]
    caption = f"The most frequent confusions, {len(pairs)} at most"
    return table(("true", "taken for", "rows", "share of the class"), rows, left=2, caption=caption)


def _share(part: int, whole: int) -> str:
    return percent(part / whole) if whole else "–"
