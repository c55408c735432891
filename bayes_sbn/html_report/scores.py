"""Scores with intervals, and what they are class by class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bayes_sbn import metrics
from bayes_sbn.html_report.markup import Content, Markup, element, name_of, table
from bayes_sbn.html_report.material import Material
from bayes_sbn.html_report.page import Section, cards
from bayes_sbn.html_report.words import counted, digits, number, percent
from bayes_sbn.metrics.report_classification import CONVENTIONS
from bayes_sbn.metrics.report_detail import DetailedReport

MATRIX_CLASSES = 20
"""Classes of which the whole table of confusions is shown, at most."""

MISTAKES = 12
"""The most frequent confusions that are listed where the table is not shown."""


def class_scores(material: Material) -> tuple[Section, list[tuple[str, str, str]]]:
    """The section of the scores of class probabilities, and the cards at the top."""
    pred, y = material.classes, material.y
    found = material.scores
    accuracy = found["accuracy"].value
    single = float((pred.probs_per_draw.argmax(-1) == y).mean())
    # Were each row right with the probability it claims, the share right had this spread.
    claimed = pred.mean.max(axis=-1)
    confidence = float(claimed.mean())
    spread = float(np.sqrt((claimed * (1 - claimed)).sum())) / len(claimed)
    words = [
        f"Of {counted(len(y), 'test row')} {percent(accuracy)} are predicted right by the mean of "
        f"{counted(material.draws, 'network')}; a single network gets {percent(single)} right on "
        "average.",
        _confidence_words(confidence - accuracy, confidence, spread),
        _uncertainty_words(material),
    ]
    numbers = {
        **found.to_dict(),
        "mean_confidence": confidence,
        "chance_spread": spread,
        "single_draw_accuracy": single,
    }
    content: list[Content] = [element("p", each) for each in words]
    usual, more = found.rows[: len(CONVENTIONS)], found.rows[len(CONVENTIONS) :]
    content += [score_table(usual, material), interval_note(found)]
    if more:
        content += [element("h3", "More scores"), score_table(more, material)]
    if isinstance(found, DetailedReport):
        content += _tests(found)
    section = Section("scores", "Scores", content, numbers)
    low, high = (f"{percent(end)}" for end in (found["accuracy"].low, found["accuracy"].high))
    top = [("Accuracy", percent(accuracy), f"{low} to {high}")]
    for metric, name in (("nll", "NLL, nats a row"), ("brier", "Brier score"), ("ece", "ECE")):
        row = found[metric]
        top.append((name, number(row.value), f"{number(row.low)} to {number(row.high)}"))
    top.append(("Mean confidence", percent(confidence), "probability of the predicted class"))
    return section, top


def _confidence_words(gap: float, confidence: float, spread: float) -> str:
    """The mean confidence beside the accuracy, and whether chance alone could part them so."""
    start = f"The mean confidence is {percent(confidence)}, "
    if abs(gap) < 0.0005:
        return start + "as high as the accuracy."
    start += f"{100 * abs(gap):.1f} points {'above' if gap > 0 else 'below'} the accuracy"
    if abs(gap) <= 2 * spread:
        return f"{start}, which chance alone may do: twice its spread is {200 * spread:.1f} points."
    way = "too sure" if gap > 0 else "not sure enough"
    return f"{start}, more than chance would do: predictions are on the whole {way}."


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


def score_table(rows: Sequence[metrics.MetricRow], material: Material) -> Markup:
    """Scores with their intervals and conventions."""
    show = number if material.is_classes else digits
    cells = [
        (r.metric, show(r.value), f"{show(r.low)} to {show(r.high)}", r.convention) for r in rows
    ]
    head = ("score", "value", f"{100 * material.level:g} % interval", "what it is")
    return table(head, cells, wrap=True)


def interval_note(found: metrics.Report | metrics.RegressionReport) -> Markup:
    """Where the intervals come from, and what they are of."""
    meaning = (
        "They say how far a score would move with another test set of this size. Neither the "
        "chance in the training data nor that in the draws is in them."
    )
    return element("p", f"{found.note} {meaning}", class_="note")


def _tests(found: DetailedReport) -> list[Content]:
    rows = [(t.test, f"{t.statistic:.3f}", f"{t.p_value:.2g}", t.convention) for t in found.tests]
    note = (
        "A small p-value speaks against calibration; it does not say how large the error is, and "
        "of many rows it is small for errors that do not matter."
    )
    head = ("test of calibration", "statistic", "p-value", "what it compares")
    return [table(head, rows, wrap=True), element("p", note, class_="note")]


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
