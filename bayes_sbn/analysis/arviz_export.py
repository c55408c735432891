r"""to_arviz: a posterior, its draws and what they say about data, as ArviZ keeps them.

The draws of a variational posterior are independent, so they are one chain of S draws; restarts
are chains of their own.  Thousands of weights would drown every table, so the posterior group has
what weights add up to, layer by layer and in what the network computes, and the probabilities of
the weights stand in a group of their own.

* ``posterior``: of each layer :mod:`bayes_sbn.analysis.layer_statistics`, and of data
  ``mean_log_lik`` with ``accuracy`` and ``entropy`` of class labels, ``rmse`` and
  ``mean_prediction`` of real targets.  Variables with the attribute ``invariant`` 1 do not depend
  on the order of hidden units.
* ``sample_stats``: ``log_prior``, ``log_lik`` (its standard error, ``log_lik_mcse``), ``lp`` their
  sum, ``log_q`` of the posterior itself, ``trained_lp``, the target of the fit,
  ``log p(w) + E_z log p(y | z, w) / T``, and ``log_lik_replicated``, of the posterior predictive.
* ``defensive``: ``lp``, ``trained_lp``, ``log_q`` and ``log_defensive`` of draws of a wider
  proposal (:mod:`bayes_sbn.analysis.defensive_draws`), whose density ``sample_stats`` has too.
* ``log_likelihood``: :mod:`bayes_sbn.analysis.data_likelihoods` by row.
* ``posterior_predictive``, ``prior_predictive``, ``predictions``: data drawn from the model.
* ``prior``: the variables of ``posterior`` for networks drawn from the prior.
* ``held_out_data``, ``held_out_log_likelihood``: of the rows of the predictions, where their labels
  are known.
* ``observed_data``, ``constant_data``, ``predictions_constant_data``: what was given.
* ``variational``: the law of the weights, of which the draws are a sample.
* ``posterior_packed``: on request, the draws of the weights themselves
  (:mod:`bayes_sbn.analysis.packed_weights`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from bayes_sbn import __version__
from bayes_sbn.analysis.arviz_chains import chains_of
from bayes_sbn.analysis.arviz_groups import Export
from bayes_sbn.analysis.arviz_names import checked_names
from bayes_sbn.analysis.arviz_versions import holds_trees, in_one_object
from bayes_sbn.analysis.data_likelihoods import Rows, Run
from bayes_sbn.metrics.arguments import check_count, check_labels, to_numpy
from bayes_sbn.metrics.regression_arguments import check_targets

if TYPE_CHECKING:
    import torch

    from bayes_sbn.posterior import Posterior

_CALL = "to_arviz()"
_MAX_MEMORY = 64 << 20


def to_arviz(
    posterior: Posterior | Sequence[Posterior],
    x: npt.ArrayLike | torch.Tensor,
    y: npt.ArrayLike | torch.Tensor,
    *,
    num_draws: int = 500,
    num_activations: int = 4,
    num_prior_draws: int = 100,
    num_defensive_draws: int = 200,
    seed: int = 0,
    x_test: npt.ArrayLike | torch.Tensor | None = None,
    y_test: npt.ArrayLike | torch.Tensor | None = None,
    components: str = "chains",
    packed: bool = False,
    calibrate: npt.ArrayLike | torch.Tensor | None = None,
    class_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    backend: str = "auto",
    progress: bool | None = None,
    max_memory: int = _MAX_MEMORY,
) -> Any:
    """Draws of a posterior and what they say about data, for ArviZ and :func:`bayes_sbn.diagnose`.

    Activations have noise of their own for each row, as in the model.  Groups and variables are
    listed in :mod:`bayes_sbn.analysis.arviz_export`.

    Args:
        posterior: a posterior, or a list of those of restarts, each of which is a chain.
        x: the inputs that it was fitted to, (rows, inputs).
        y: their labels or real targets, (rows,).
        num_draws: draws of the weights in each chain.
        num_activations: draws of the activations for each of the weights, over which the
            likelihood is averaged; the time is that of ``num_activations + 1`` predictions.
        num_prior_draws: draws of the prior in each chain; 0 for none.
        num_defensive_draws: draws of a wider proposal in each chain, which show what those of the
            posterior leave out; 0 for none.
        seed: of all random bits.  Draw s of chain c is ``posterior.draw(num_draws, seed,
            stream=c)[s]``.
        x_test: inputs to predict.
        y_test: their labels or targets, if known.
        components: of a mixture: ``"chains"``, each component a chain, or ``"mixed"`` in one.
        packed: whether to keep the draws of the weights, for :func:`bayes_sbn.analysis.unpack`.
        calibrate: rows for draws that measure their statistics; by default ``x``.
        class_names: names of the classes.
        feature_names: names of the inputs.
        backend: as in :meth:`bayes_sbn.Ensemble.predict`.
        progress: whether to show progress bars; by default only on a terminal.
        max_memory: bound in bytes on the working memory beside the results.

    Returns:
        An ``InferenceData`` with ArviZ 0.x, an ``xarray.DataTree`` with ArviZ 1.x.

    Raises:
        TypeError: something is not what it should be; the message says what to write.
        ValueError: shapes, labels or numbers are not allowed; the message says which are.

    Example:
        >>> idata = to_arviz(posterior, x, y, num_draws=500)  # doctest: +SKIP
        >>> arviz.summary(idata)  # doctest: +SKIP
    """
    chains = chains_of(posterior, components)
    num_draws = check_count(_CALL, "num_draws", num_draws, minimum=1, usual=500)
    num_activations = check_count(_CALL, "num_activations", num_activations, minimum=1, usual=4)
    num_prior_draws = check_count(_CALL, "num_prior_draws", num_prior_draws, minimum=0, usual=100)
    num_defensive_draws = check_count(
        _CALL, "num_defensive_draws", num_defensive_draws, minimum=0, usual=200
    )
    train = _rows(chains[0], x, y, "x", "y")
    if not len(train):
        raise ValueError(f"{_CALL} needs at least one row: received x of shape {train.x.shape}.")
    if y_test is not None and x_test is None:
        raise ValueError(f"{_CALL}: y_test is given and x_test is not. Write x_test=x_test too.")
    test = None if x_test is None else _rows(chains[0], x_test, y_test, "x_test", "y_test")
    names = checked_names(_CALL, chains[0], class_names, feature_names)
    run = Run(num_activations, backend, max_memory, progress)
    export = Export(chains, names, run, seed, calibrate, train, test)
    groups = export.groups(num_draws, num_prior_draws, num_defensive_draws, packed=packed)
    attrs = _attrs(chains, num_draws, num_activations, seed)
    return in_one_object(groups, attrs, as_tree=holds_trees())


def _rows(posterior: Posterior, x: Any, y: Any, x_name: str, y_name: str) -> Rows:
    """Checked inputs, of the type that they came in, and labels or targets."""
    from bayes_sbn.kernels.reference.inputs import round_inputs

    call = f"to_arviz({x_name}=...)"
    steps = round_inputs(call, x, posterior.num_inputs, posterior.input_scale)
    inputs = to_numpy(x)
    if y is None:
        if y_name == "y":
            raise TypeError(
                f"{_CALL} needs the labels or targets y of the rows x: received None. Write "
                "to_arviz(posterior, x, y)."
            )
        return Rows(inputs, None)
    call = f"to_arviz({y_name}=...)"
    if posterior.likelihood == "normal":
        return Rows(inputs, check_targets(call, y, len(steps)))
    return Rows(inputs, check_labels(call, y, len(steps), posterior.num_classes))


def _attrs(
    chains: Sequence[Posterior], num_draws: int, num_activations: int, seed: int
) -> dict[str, Any]:
    """Of the whole: numbers and words, as NetCDF can hold them."""
    attrs: dict[str, Any] = {
        "inference_library": "bayes_sbn",
        "inference_library_version": __version__,
        "likelihood": chains[0].likelihood,
        "posterior": [chain.digest for chain in chains],
        "num_draws": num_draws,
        "num_activations": num_activations,
        "seed": str(seed),
        "noise": "independent",
    }
    if chains[0].temperature is not None:
        attrs["temperature"] = chains[0].temperature
    return attrs
