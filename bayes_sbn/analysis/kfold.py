r"""K-fold cross-validation: every row predicted by a fit that has not seen it.

The rows are dealt into k folds; for each, a model is fitted to all other rows and predicts those
of the fold.  The expected log predictive density of new rows is estimated by

.. math::
    \widehat{\mathrm{elpd}} = \sum_n \log p(y_n | x_n, D_{-k(n)}), \qquad
    \mathrm{se} = \sqrt{N \, \tfrac{1}{N - 1} \sum_n (e_n - \bar e)^2},

with :math:`e_n` the summand of row n.  Of k = N folds it is leave-one-out.  With fewer the fits
have seen fewer rows than the one that is judged, so that the estimate is a little low.  The
standard error treats rows as independent given the fits; for few rows it is too small.

References:
    A. Vehtari, A. Gelman, J. Gabry. Practical Bayesian model evaluation using leave-one-out
    cross-validation and WAIC. Statistics and Computing 27, 2017.

    T. Sivula, M. Magnusson, A. A. Matamoros, A. Vehtari. Uncertainty in Bayesian leave-one-out
    cross-validation based model comparison. arXiv:2008.10296, 2020.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.analysis.fit_identity import identity_of
from bayes_sbn.analysis.folds import assign_folds
from bayes_sbn.analysis.held_out import HeldOut, held_out
from bayes_sbn.analysis.kfold_folder import FoldFolder, checksum
from bayes_sbn.analysis.kfold_result import KFold
from bayes_sbn.metrics.arguments import to_numpy

CALL = "kfold()"


def kfold(
    fit_fn: Callable[[Any, Any], object],
    data: tuple[Any, Any],
    k: int = 5,
    *,
    seed: int = 0,
    stratify: bool | npt.ArrayLike | None = None,
    num_draws: int = 200,
    folder: str | os.PathLike[str] | None = None,
    name: str | None = None,
    resume: bool = True,
    progress: bool | None = None,
) -> KFold:
    """Fit k times, and score every row by the fit that has not seen it.

    Each fit begins with torch's generators at a state of its own, which follows from the seed and
    the fold; they are put back afterwards.  Build model and guide inside ``fit_fn``, so that no fit
    begins where another one ended.

    Args:
        fit_fn: called with the rows ``(x, y)`` of the other folds; it returns what predicts: a
            :class:`bayes_sbn.Posterior`, an ensemble, an exact posterior, or a function of new x
            whose result has ``mean`` and ``log_prob(y)``, as ``Predictions`` and
            ``RegressionPredictions`` do, or is an array of class probabilities (rows, classes).
        data: ``(x, y)``, tensors or arrays whose first dims are the rows.
        k: number of folds; the number of rows for leave-one-out.
        seed: of the folds, of the fits' generators and of the posterior's draws.
        stratify: labels of which each fold has its share; True for y, False for none; by default y
            where it is integers.
        num_draws: draws of a posterior.
        folder: where each fold is kept once it is done.  The same call goes on from what is there,
            and a call with other data, folds or ``fit_fn`` is an error.
        name: what the folder calls ``fit_fn``.  By default it knows it by its name, its code and
            the values that it holds (:mod:`bayes_sbn.analysis.fit_identity`); give a name where
            these change though the fit does not, or stay though it does.
        resume: False does all folds anew, whatever is in the folder.
        progress: show a bar; default where standard error is a terminal.

    Returns:
        Scores with standard errors, all rows, and what two of them differ by.

    Example:
        >>> import bayes_sbn as sbn
        >>> x, y = [[-1.0], [-0.5], [0.5], [1.0]], [0, 0, 1, 1]
        >>> model = sbn.models.BinaryMLP(1, [2], 2, num_data=4)
        >>> def fit(x, y):
        ...     return sbn.analysis.exact_posterior(model, x, y)
        >>> loo = sbn.analysis.kfold(fit, (x, y), k=4)
        >>> len(loo.elpd_per_row), bool(loo.elpd == loo.elpd_per_row.sum())
        (4, True)
    """
    from tqdm import tqdm

    if name is not None and not isinstance(name, str):
        raise TypeError(f"{CALL}: name={name!r} is no string. Write name='mine', or leave it out.")
    x, y = _data(data)
    observed = to_numpy(y)
    folds = assign_folds(CALL, observed, k, seed, stratify)
    settings = {
        "x": checksum(to_numpy(x)),
        "y": checksum(observed),
        "folds": checksum(folds),
        "k": int(k),
        "seed": int(seed),
        "num_draws": int(num_draws),
    }
    kept = None
    if folder is not None:
        settings |= identity_of(fit_fn, name)
        kept = FoldFolder(folder, settings, resume=resume)
    results: list[HeldOut] = []
    disable = None if progress is None else not progress
    for fold in tqdm(range(k), desc=CALL, unit="fold", leave=False, disable=disable):
        found = None if kept is None else kept.read(fold)
        if found is None:
            inside, outside = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            x_train, y_train = x[outside], y[outside]
            with generators_at(seed, fold):
                fitted = fit_fn(x_train, y_train)
                found = held_out(
                    CALL, fitted, x[inside], y[inside], x_train, num_draws=num_draws, seed=seed
                )
            if kept is not None:
                kept.write(fold, found)
        results.append(found)
    return _together(observed, folds, results)


@contextlib.contextmanager
def generators_at(*key: int) -> Iterator[None]:
    """Torch's own generators at a state that follows from some integers; put back afterwards."""
    import torch

    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
    with torch.random.fork_rng():
        torch.random.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(seed)
        yield


def _data(data: object) -> tuple[Any, Any]:
    """The rows, which can be taken by arrays of their numbers."""
    if not (isinstance(data, tuple | list) and len(data) == 2):
        raise TypeError(
            f"{CALL} needs data as a pair (x, y): received {type(data).__name__}. Write "
            "kfold(fit_fn, (x, y))."
        )
    x, y = (each if hasattr(each, "detach") else np.asarray(each) for each in data)
    if len(y.shape) != 1 or not len(x.shape) or len(x) != len(y):
        raise ValueError(
            f"{CALL} needs one target a row: x has shape {tuple(x.shape)} and y {tuple(y.shape)}. "
            "For a column of targets write y.reshape(-1)."
        )
    return x, y


def _together(
    y: npt.NDArray[np.generic], folds: npt.NDArray[np.int64], results: list[HeldOut]
) -> KFold:
    """The folds' rows put back in their places."""
    shapes = {result.mean.shape[1:] for result in results}
    if len(shapes) > 1:
        raise ValueError(
            f"{CALL}: the fits predict {' and '.join(sorted(map(_said, shapes)))}; a class that "
            "the rows of a fit lack must have its probability all the same. Tell the model the "
            "number of classes."
        )
    log_prob = np.empty(len(y))
    mean = np.empty((len(y), *shapes.pop()))
    for fold, result in enumerate(results):
        log_prob[folds == fold] = result.log_prob
        mean[folds == fold] = result.mean
    return KFold(y, folds, log_prob, mean)


def _said(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} classes" if shape else "real targets"
