r"""What each draw of the weights says about rows of data, its activations averaged out.

For a draw w of the weights and M draws :math:`z_m` of the activations, independent for each row,

    ``log p(y_n | w)  =  log 1/M sum_m p(y_n | z_mn, w)``         (``log_lik``),
    ``E_z log p(y | z, w)  =  sum_n 1/M sum_m log p(y_n | z_mn, w)``   (``trained``).

The average inside the first logarithm is unbiased, row by row, and rows are independent given w, so
the product over the rows is an unbiased estimate of ``p(y | w)``: importance weights made of it are
weights of the exact target on a larger space.  ``mcse`` is the standard error that finite M leaves
in ``sum_n log p(y_n | w)``, by the delta method.

Activations 0 ... M-1 are those of ``ensemble.predict_nested(x, M)``.  Replicated data are drawn
under activation M, which the likelihood has not seen: labels as by ``ensemble.labels(x,
noise="independent", row_offset=M * len(x))``, and real targets by NumPy's generator.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

if TYPE_CHECKING:
    from bayes_sbn.ensemble import Ensemble
    from bayes_sbn.ensemble_regression import RegressionEnsemble

Float64 = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

_HALF_LOG_2PI = 0.5 * float(np.log(2 * np.pi))


@dataclass
class DataLikelihoods:
    """Numbers by draw, and by row; what was not asked for is empty.

    Args:
        log_lik: ``log p(y_n | w)``, (draws, rows).
        trained: ``E_z log p(y | z, w)``, summed over the rows, (draws,).
        mcse: standard error of ``log_lik`` summed over the rows, (draws,); NaN of one activation.
        statistics: summaries of the predictions, (draws,) each.
        replicated: data drawn from the model, (draws, rows).
        log_lik_replicated: ``sum_n log p(replicated_n | w)``, (draws,).
    """

    log_lik: Float64
    trained: Float64
    mcse: Float64
    statistics: dict[str, Float64]
    replicated: Array
    log_lik_replicated: Float64


@dataclass(frozen=True)
class Rows:
    """Rows of data that draws are asked about.

    Args:
        x: inputs, (rows, inputs).
        y: labels or targets, (rows,); None if they are not known.
    """

    x: Array
    y: Array | None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Run:
    """How the networks are run.

    Args:
        num_activations: M.
        backend: of the prediction.
        max_memory: bound on the working memory, in bytes.
        progress: whether to show a bar; None where standard error is a terminal.
    """

    num_activations: int
    backend: str
    max_memory: int
    progress: bool | None


def data_likelihoods(
    ensemble: Ensemble,
    rows: Rows,
    run: Run,
    *,
    seed: tuple[int, ...],
    what: str,
    replicate: bool = True,
) -> DataLikelihoods:
    """Likelihoods, summaries and replicated data of each draw.

    Args:
        ensemble: the draws.
        rows: what they are asked about.
        run: how.
        seed: of the normal noise of replicated real targets.
        what: words for the progress bar.
        replicate: whether to draw data, which takes another pass of the networks.
    """
    is_normal = ensemble.sigmas is not None
    num_draws, num_rows = len(ensemble), len(rows)
    shape = (num_draws, num_rows)
    known = rows.y is not None
    found = DataLikelihoods(
        log_lik=np.empty(shape if known else 0),
        trained=np.empty(num_draws if known else 0),
        mcse=np.empty(num_draws if known else 0),
        statistics={},
        replicated=np.empty(shape if replicate else 0, np.float64 if is_normal else np.int64),
        log_lik_replicated=np.empty(num_draws if replicate else 0),
    )
    noise = np.random.default_rng(seed).standard_normal(shape) if is_normal and replicate else None
    passes = run.num_activations + replicate
    for part, logits in _logits(ensemble, rows, run, passes, what):
        seen = logits[: run.num_activations]
        law: _Law
        if is_normal:
            of_reals = cast("RegressionEnsemble", ensemble[part])
            law = _NormalLaw(seen, of_reals.sigma_per_draw)
        else:
            law = _LabelLaw(seen)
        for name, values in law.summaries(rows.y).items():
            found.statistics.setdefault(name, np.empty(num_draws))[part] = values
        if rows.y is not None:
            log_prob = law.log_prob(rows.y)
            log_lik = _averaged(log_prob)
            found.log_lik[part] = log_lik
            found.trained[part] = log_prob.mean(axis=0).sum(axis=-1)
            found.mcse[part] = _standard_error(log_prob, log_lik)
        if replicate:
            own = None if noise is None else noise[part]
            drawn = law.draw(logits[-1], ensemble[part], own, run.num_activations * num_rows)
            found.replicated[part] = drawn
            found.log_lik_replicated[part] = _averaged(law.log_prob(drawn)).sum(axis=-1)
    return found


def _logits(
    ensemble: Ensemble, rows: Rows, run: Run, passes: int, what: str
) -> Iterator[tuple[slice, Float64]]:
    """Logits under so many activations, (passes, draws, rows, classes), some draws at a time."""
    per_draw = 8 * max(1, len(rows)) * ensemble.num_classes * passes
    step = max(1, run.max_memory // (4 * per_draw))
    disable = None if run.progress is None else not run.progress
    total = len(ensemble) * passes
    with tqdm(total=total, desc=what, unit="pass", leave=False, disable=disable) as bar:
        for start in range(0, len(ensemble), step):
            part = slice(start, min(start + step, len(ensemble)))
            drawn = ensemble[part]
            logits = np.empty((passes, len(drawn), len(rows), ensemble.num_classes))
            for m in range(passes):
                logits[m] = drawn.logits(
                    rows.x,
                    backend=run.backend,
                    noise="independent",
                    row_offset=m * len(rows),
                    progress=False,
                    max_memory=run.max_memory,
                )
                bar.update(len(drawn))
            yield part, logits


class _Law(ABC):
    """The law of the data under draws and activations: what it gives for labels or for reals."""

    @abstractmethod
    def log_prob(self, y: Array) -> Float64:
        """``log p(y_n | z_m, w)`` of y (rows,) or (draws, rows); (activations, draws, rows)."""

    @abstractmethod
    def summaries(self, y: Array | None) -> dict[str, Float64]:
        """Of each draw, (draws,) each."""

    @abstractmethod
    def draw(self, logits: Float64, ensemble: Ensemble, normal: Float64 | None, at: int) -> Array:
        """Data under activations of their own, (draws, rows).

        Args:
            logits: under these activations, (draws, rows, classes).
            ensemble: the draws.
            normal: standard normal numbers, (draws, rows), of real targets.
            at: index of the first row, of labels.
        """


class _LabelLaw(_Law):
    """Class labels."""

    def __init__(self, logits: Float64) -> None:
        top = logits.max(axis=-1, keepdims=True)
        total = np.log(np.exp(logits - top).sum(axis=-1, keepdims=True)) + top
        self.log_probs = logits - total
        self.probs = np.exp(self.log_probs).mean(axis=0)

    def log_prob(self, y: Array) -> Float64:
        index = np.broadcast_to(y, self.log_probs.shape[:-1])[..., None]
        return np.take_along_axis(self.log_probs, index, axis=-1)[..., 0]

    def summaries(self, y: Array | None) -> dict[str, Float64]:
        p = self.probs
        logs = np.log(p, out=np.zeros_like(p), where=p > 0)
        found = {"entropy": -(p * logs).sum(axis=-1).mean(axis=-1)}
        if y is not None:
            found["accuracy"] = (p.argmax(axis=-1) == y).mean(axis=-1)
        return found

    def draw(self, logits: Float64, ensemble: Ensemble, normal: Float64 | None, at: int) -> Array:
        from bayes_sbn.ensemble_labels import draw_labels
        from bayes_sbn.kernels.reference.network import softmax64
        from bayes_sbn.philox import fold_stream

        del normal
        key = fold_stream(ensemble.seed, ensemble.stream)
        return draw_labels(key, ensemble.draws, at, softmax64(logits))


class _NormalLaw(_Law):
    """Real targets with normal noise."""

    def __init__(self, logits: Float64, sigma: Float64) -> None:
        self.means, self.sigma = logits[..., 0], sigma[:, None]
        self.mean = self.means.mean(axis=0)

    def log_prob(self, y: Array) -> Float64:
        z = (y - self.means) / self.sigma
        logs: Float64 = -0.5 * z**2 - np.log(self.sigma) - _HALF_LOG_2PI
        return logs

    def summaries(self, y: Array | None) -> dict[str, Float64]:
        found = {"mean_prediction": self.mean.mean(axis=-1)}
        if y is not None:
            found["rmse"] = np.sqrt(((self.mean - y) ** 2).mean(axis=-1))
        return found

    def draw(self, logits: Float64, ensemble: Ensemble, normal: Float64 | None, at: int) -> Array:
        del ensemble, at
        assert normal is not None
        drawn: Array = logits[..., 0] + self.sigma * normal
        return drawn


def _averaged(log_prob: Float64) -> Float64:
    """The logarithm of the mean over the activations, the first axis."""
    averaged: Float64 = np.logaddexp.reduce(log_prob, axis=0) - np.log(len(log_prob))
    return averaged


def _standard_error(log_prob: Float64, log_lik: Float64) -> Float64:
    num_activations = len(log_prob)
    if num_activations < 2:
        return np.full(log_prob.shape[1], np.nan)
    finite = np.isfinite(log_lik)
    ratio = np.exp(np.where(finite, log_prob - np.where(finite, log_lik, 0.0), 0.0))
    errors: Float64 = np.sqrt((ratio.var(axis=0, ddof=1) / num_activations).sum(axis=-1))
    return errors
