"""``sbn.report``: one HTML file that says what a fitted network knows, and how well."""

from __future__ import annotations

import datetime
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from bayes_sbn.html_report.abstention import abstention
from bayes_sbn.html_report.arguments import CALL, moment
from bayes_sbn.html_report.calibration import calibration, surface
from bayes_sbn.html_report.call import call_of
from bayes_sbn.html_report.cases import class_cases, real_cases
from bayes_sbn.html_report.cautions import caution_list, cautions
from bayes_sbn.html_report.data import data
from bayes_sbn.html_report.diagnostics import diagnostics
from bayes_sbn.html_report.draws import enough_draws
from bayes_sbn.html_report.elsewhere import elsewhere
from bayes_sbn.html_report.gather import gather
from bayes_sbn.html_report.material import Material
from bayes_sbn.html_report.network import network, signs, training
from bayes_sbn.html_report.origin import origin
from bayes_sbn.html_report.page import Section, page
from bayes_sbn.html_report.regression import band, real_calibration, real_scores
from bayes_sbn.html_report.scores import class_scores, confusions, top_of
from bayes_sbn.html_report.words import counted
from bayes_sbn.json_numbers import in_json
from bayes_sbn.posterior import Posterior
from bayes_sbn.recalibration.recalibration import Recalibration
from bayes_sbn.training_result import EpochRecord, Fit
from bayes_sbn.whole_file import write_whole

Part = Callable[[Material], Section | None]

_OF_CLASSES: Sequence[Part] = (
    confusions,
    calibration,
    abstention,
    enough_draws,
    elsewhere,
    surface,
    class_cases,
    data,
    network,
    signs,
    diagnostics,
    training,
)
_OF_REALS: Sequence[Part] = (
    real_calibration,
    enough_draws,
    elsewhere,
    band,
    real_cases,
    data,
    network,
    signs,
    diagnostics,
    training,
)
"""The sections after the scores, in their order; each may be absent."""


@dataclass(frozen=True, eq=False)
class HTMLReport:
    """A report that was written.

    Args:
        path: the file.
        title: of the page.
        numbers: what each section states, by its name, as plain values.
        cautions: what to know before the report is relied upon, as its top says it.
    """

    path: Path
    title: str
    numbers: Mapping[str, Mapping[str, Any]]
    cautions: tuple[str, ...] = ()

    @property
    def sections(self) -> tuple[str, ...]:
        """The names of the sections, which are their anchors in the page, in their order."""
        return tuple(self.numbers)

    def to_dict(self) -> dict[str, Any]:
        """Title, path, cautions and the numbers of each section, as JSON holds them."""
        result: dict[str, Any] = in_json(
            {
                "title": self.title,
                "path": str(self.path),
                "cautions": self.cautions,
                "sections": dict(self.numbers),
            }
        )
        return result

    def to_json(self) -> str:
        """The same as JSON text; a number that JSON lacks is a string, such as "inf"."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def __str__(self) -> str:
        size = self.path.stat().st_size if self.path.is_file() else 0
        kept = f"{size / 1000:,.0f} kB" if size else "no longer there"
        return f"{self.path} ({kept}): {', '.join(self.sections)}"

    __repr__ = __str__


def report(
    posterior: Posterior,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    path: str | os.PathLike[str] = "report.html",
    *,
    draws: int = 200,
    seed: int = 0,
    fit: Fit | Sequence[EpochRecord] | str | os.PathLike[str] | None = None,
    train: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    ood: npt.ArrayLike | None = None,
    class_names: Sequence[object] | None = None,
    feature_names: Sequence[object] | None = None,
    image_shape: tuple[int, ...] | None = None,
    row_names: Sequence[object] | None = None,
    rescale: tuple[float, float] | None = None,
    rescale_inputs: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    recalibration: Recalibration | None = None,
    title: str | None = None,
    bootstrap: int = 1000,
    level: float = 0.95,
    detail: bool = True,
    diagnosis: bool = True,
    date: datetime.datetime | str | None = None,
    call: str | None = None,
    notes: Mapping[str, object] | None = None,
    backend: str = "auto",
    progress: bool | None = None,
) -> HTMLReport:
    """Predict test rows, judge the predictions, and write it all as one HTML file.

    The file needs no other file and no network, and runs nothing; it is written whole or not at
    all.  The same arguments and ``date`` give the same file, byte for byte, on the same machine.

    Args:
        posterior: the fitted network.
        x: test inputs (rows, inputs).
        y: their labels (rows,), integers in 0 ... classes - 1; or real targets.
        path: where to write it; a file that is there is replaced.
        draws: networks drawn from the posterior.
        seed: of the draws, the resampling and the random orders in figures.
        fit: what ``sbn.fit`` returned, its records, or the folder of its checkpoint, for the course
            of the fit.
        train: inputs and targets that were fitted, for a comparison of the data; layers that
            measure their statistics on data need them.
        ood: inputs from elsewhere (rows, inputs), which the network should be unsure of.
        class_names: a name for each class.
        feature_names: a name for each input.
        image_shape: (height, width) or (height, width, 3), where inputs are images.
        row_names: a name for each test row, such as its line in a file.
        rescale: (scale, shift) of a real target that was standardised for the fit: ``y`` is
            ``scale * standardised + shift``.
        rescale_inputs: (scale, shift), numbers or one an input: inputs are shown as
            ``scale * x + shift``.
        recalibration: a fitted method of ``sbn.recalibration``, applied to all predictions.
        title: of the page.
        bootstrap: resamples of the rows behind each interval.
        level: level of the intervals.
        detail: whether to give the longer report of class probabilities, whose resampling takes
            seconds, of many rows minutes.
        diagnosis: whether to diagnose the posterior, where ``train`` is given: five predictions of
            the training rows more.
        date: the moment that the report states; None is now, and then it states as well how long
            each part took.
        call: the command that made it, to be stated; None states the call of this function.
        notes: what else is to be stated of how it came about, by name.
        backend: of the predictions, as in :meth:`bayes_sbn.Ensemble.predict`.
        progress: whether to show progress bars; by default only on a terminal.

    Returns:
        A record with the path, the names of the sections, and their numbers.

    Raises:
        TypeError: an argument is of a wrong kind; the message says what to write.
        ValueError: shapes, labels, names or options do not fit.
        OSError: the file cannot be written.

    Example:
        >>> import bayes_sbn as sbn, torch
        >>> model = sbn.models.BinaryMLP(4, [8], 3, num_data=20)
        >>> posterior = sbn.Posterior.from_guide(model, sbn.guides.AutoSignBernoulli(model))
        >>> x, y = torch.randn(20, 4), torch.arange(20) % 3
        >>> made = sbn.report(posterior, x, y, "small.html", draws=10)
        >>> made.sections[:3]
        ('scores', 'classes', 'calibration')
    """
    target = _writable(path)
    stated = moment(date)
    material = gather(
        posterior,
        x,
        y,
        draws=draws,
        seed=seed,
        bootstrap=bootstrap,
        level=level,
        detail=detail,
        fit=fit,
        train=train,
        ood=ood,
        class_names=class_names,
        feature_names=feature_names,
        image_shape=image_shape,
        row_names=row_names,
        rescale=rescale,
        rescale_inputs=rescale_inputs,
        recalibration=recalibration,
        backend=backend,
        progress=progress,
    )
    seconds: dict[str, float] = {}
    watch = _Watch(seconds)
    material.predicted  # noqa: B018 - so that its time is its own
    watch.lap("predicting")
    if material.is_classes:
        first, top = class_scores(material)
        parts = _OF_CLASSES
    else:
        first, top = real_scores(material)
        parts = _OF_REALS
    watch.lap("scores")
    chosen = [part for part in parts if diagnosis or part is not diagnostics]
    sections = [first, *(section for part in chosen if (section := part(material)) is not None)]
    watch.lap("figures and tables")
    if material.course is not None:
        seconds["fitting"] = sum(record.seconds for record in material.course.records)
    call = call_of(material, target, title) if call is None else call
    sections.append(origin(material, call, stated, seconds if date is None else {}, notes or {}))
    name = title or "What the network knows"
    kind = f"{len(material.class_names)} classes" if material.is_classes else "a real target"
    lead = (
        f"{counted(len(material.y), 'test row')}, {counted(material.x.shape[1], 'input')}, {kind}, "
        f"{counted(material.draws, 'binary network', 'binary networks')}. {stated}."
    )
    warned = cautions(sections)
    text = page(name, lead, [top_of(top, material), *caution_list(warned, sections)], sections)
    write_whole(target, text.encode("utf-8"))
    numbers = {section.name: dict(section.numbers) for section in sections}
    return HTMLReport(target, name, numbers, tuple(each.text for each in warned))


class _Watch:
    """A stopwatch whose laps go into a dict."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._seconds[name] = now - self._last
        self._last = now


def _writable(path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    if target.is_dir():
        raise ValueError(
            f"{CALL}: path {str(path)!r} is a folder. Write path={str(target / 'report.html')!r}."
        )
    if not target.absolute().parent.is_dir():
        raise ValueError(
            f"{CALL}: the folder {str(target.absolute().parent)!r} of path does not exist. Make it "
            "first, or give another path."
        )
    return target
