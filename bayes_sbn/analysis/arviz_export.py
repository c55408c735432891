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
* ``log_likelihood``: :mod:`bayes_sbn.analysis.data_likelihoods` by row.
* ``posterior_predictive``, ``prior_predictive``, ``predictions``: data drawn from the model.
* ``prior``: the variables of ``posterior`` for networks drawn from the prior.
* ``held_out_data``, ``held_out_log_likelihood``: of the rows of the predictions, where their labels
  are known.
* ``observed_data``, ``constant_data``, ``predictions_constant_data``: what was given.
* ``variational``: the law of the weights, of which the draws are a sample.
* ``posterior_packed``: the draws of the weights themselves, on request
  (:mod:`bayes_sbn.analysis.packed_weights`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bayes_sbn import __version__
from bayes_sbn.analysis.arviz_chains import chains_of, prior_of
from bayes_sbn.analysis.arviz_names import Names, checked_names
from bayes_sbn.analysis.arviz_versions import holds_trees, in_one_object
from bayes_sbn.analysis.data_likelihoods import DataLikelihoods, Rows, Run, data_likelihoods
from bayes_sbn.analysis.layer_statistics import STATISTICS, layer_statistics
from bayes_sbn.analysis.variational_law import variational_law
from bayes_sbn.analysis.weight_densities import log_densities
from bayes_sbn.metrics.arguments import check_count, check_labels, to_numpy
from bayes_sbn.metrics.regression_arguments import check_targets

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from bayes_sbn.ensemble import Ensemble
    from bayes_sbn.posterior import Posterior

Array = npt.NDArray[Any]
Variables = dict[str, tuple[tuple[str, ...], Array, dict[str, Any]]]

_CALL = "to_arviz()"
_PRIOR_STREAM = 1 << 63
_MAX_MEMORY = 64 << 20

_DATA_STATISTICS = {
    "mean_log_lik": "log p(y_n | w), activations averaged out, mean over the rows",
    "accuracy": "share of rows whose most probable class, activations averaged out, is the label",
    "entropy": "entropy of the class probabilities, activations averaged out, nats, mean over rows",
    "rmse": "root mean square error of the mean prediction",
    "mean_prediction": "mean of the predictions over the rows",
}


def to_arviz(
    posterior: Posterior | Sequence[Posterior],
    x: npt.ArrayLike | torch.Tensor,
    y: npt.ArrayLike | torch.Tensor,
    *,
    num_draws: int = 500,
    num_activations: int = 4,
    num_prior_draws: int = 100,
    seed: int = 0,
    x_test: npt.ArrayLike | torch.Tensor | None = None,
    y_test: npt.ArrayLike | torch.Tensor | None = None,
    components: str = "chains",
    calibrate: npt.ArrayLike | torch.Tensor | None = None,
    class_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    backend: str = "auto",
    progress: bool | None = None,
    max_memory: int = _MAX_MEMORY,
) -> Any:
    """Draws of a posterior and what they say about data, for ArviZ and for :func:`diagnose`.

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
        seed: of all random bits.  Draw s of chain c is ``posterior.draw(num_draws, seed,
            stream=c)[s]``.
        x_test: inputs to predict.
        y_test: their labels or targets, if known.
        components: of a mixture: ``"chains"``, each component a chain, or ``"mixed"`` in one.
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
    train = _rows(chains[0], x, y, "x", "y")
    if not len(train):
        raise ValueError(f"{_CALL} needs at least one row: received x of shape {train.x.shape}.")
    if y_test is not None and x_test is None:
        raise ValueError(f"{_CALL}: y_test is given and x_test is not. Write x_test=x_test too.")
    test = None if x_test is None else _rows(chains[0], x_test, y_test, "x_test", "y_test")
    names = checked_names(_CALL, chains[0], class_names, feature_names)
    run = Run(num_activations, backend, max_memory, progress)
    export = _Export(chains, names, run, seed, calibrate, train, test)
    groups = export.groups(num_draws, num_prior_draws)
    attrs = _attrs(chains, num_draws, num_activations, seed)
    return in_one_object(groups, attrs, as_tree=holds_trees())


class _Export:
    """The groups of one call."""

    def __init__(
        self,
        chains: Sequence[Posterior],
        names: Names,
        run: Run,
        seed: int,
        calibrate: Any,
        train: Rows,
        test: Rows | None,
    ) -> None:
        self.chains, self.names, self.run, self.seed = chains, names, run, seed
        self.calibrate, self.train, self.test = calibrate, train, test

    def groups(self, num_draws: int, num_prior_draws: int) -> dict[str, xr.Dataset]:
        """All groups, in the order of ArviZ's schema."""
        ensembles = [
            self._draw(chain, num_draws, stream) for stream, chain in enumerate(self.chains)
        ]
        said = [
            data_likelihoods(e, self.train, self.run, seed=(self.seed, c, 0), what="posterior")
            for c, e in enumerate(ensembles)
        ]
        found = {
            "posterior": self._dataset(self._statistics(self.chains, ensembles, said)),
            "posterior_predictive": self._dataset(self._replicated(said, "row")),
            "log_likelihood": self._dataset(self._by_row(said, "row")),
            "sample_stats": self._dataset(self._sample_stats(ensembles, said)),
        }
        if self.test is not None:
            found |= self._predictions(ensembles, self.test)
        if num_prior_draws:
            found |= self._prior(num_prior_draws)
        found["observed_data"] = self._dataset({"y": (("row",), _y(self.train), {})})
        found["constant_data"] = self._dataset({"x": (("row", "feature"), self.train.x, {})})
        found["variational"] = self._dataset(variational_law(self.chains, self.names))
        return found

    def _draw(self, chain: Posterior, num_draws: int, stream: int) -> Ensemble:
        layers = chain.components[0].layers
        rows = self.calibrate
        if rows is None and any(layer.is_recalibrated for layer in layers):
            rows = self.train.x
        return chain.draw(num_draws, self.seed, stream, calibrate=rows)

    def _statistics(
        self,
        posteriors: Sequence[Posterior],
        ensembles: Sequence[Ensemble],
        said: Sequence[DataLikelihoods],
    ) -> Variables:
        found: Variables = {}
        by_chain = [
            layer_statistics(posterior, ensemble, self.names.layers)
            for posterior, ensemble in zip(posteriors, ensembles, strict=True)
        ]
        for name in sorted(set.intersection(*map(set, by_chain)), key=list(by_chain[0]).index):
            words, invariant = STATISTICS[name.rpartition(".")[2]]
            values = np.stack([chain[name] for chain in by_chain])
            found[name] = _by_draw(values, words, invariant=invariant)
        of_data = [{"mean_log_lik": s.log_lik.mean(axis=-1), **s.statistics} for s in said]
        for name in of_data[0]:
            values = np.stack([chain[name] for chain in of_data])
            found[name] = _by_draw(values, _DATA_STATISTICS[name], invariant=True)
        return found

    def _replicated(self, said: Sequence[DataLikelihoods], dim: str) -> Variables:
        values = np.stack([each.replicated for each in said])
        return {"y": (("chain", "draw", dim), values, {"description": "drawn from the model"})}

    def _by_row(self, said: Sequence[DataLikelihoods], dim: str) -> Variables:
        words = f"log p(y_n | w), the mean over {self.run.num_activations} draws of activations"
        values = np.stack([each.log_lik for each in said])
        return {"y": (("chain", "draw", dim), values, {"description": words})}

    def _sample_stats(
        self, ensembles: Sequence[Ensemble], said: Sequence[DataLikelihoods]
    ) -> Variables:
        densities = [
            log_densities(chain, ensemble)
            for chain, ensemble in zip(self.chains, ensembles, strict=True)
        ]
        log_q, log_prior = (np.stack(part) for part in zip(*densities, strict=True))
        log_lik = np.stack([each.log_lik.sum(axis=-1) for each in said])
        found: Variables = {
            "lp": _by_draw(log_prior + log_lik, "log p(w) + log p(y | w)"),
            "log_q": _by_draw(log_q, "log q(w), of the posterior that was fitted"),
            "log_prior": _by_draw(log_prior, "log p(w)"),
            "log_lik": _by_draw(log_lik, "log p(y | w), activations averaged out"),
        }
        if self.run.num_activations > 1:
            mcse = np.stack([each.mcse for each in said])
            found["log_lik_mcse"] = _by_draw(mcse, "standard error of log_lik")
        temperature = self.chains[0].temperature
        if temperature:
            trained = np.stack([each.trained for each in said]) / temperature
            words = f"log p(w) + E_z log p(y | z, w) / T, T = {temperature:g}"
            found["trained_lp"] = _by_draw(log_prior + trained, words)
        replicated = np.stack([each.log_lik_replicated for each in said])
        found["log_lik_replicated"] = _by_draw(replicated, "log p(replicated data | w)")
        if np.isnan(log_q).any():
            del found["log_q"]
        return found

    def _predictions(self, ensembles: Sequence[Ensemble], test: Rows) -> dict[str, xr.Dataset]:
        said = [
            data_likelihoods(e, test, self.run, seed=(self.seed, c, 1), what="predictions")
            for c, e in enumerate(ensembles)
        ]
        dim = "test_row"
        found = {"predictions": self._dataset(self._replicated(said, dim))}
        found["predictions_constant_data"] = self._dataset({"x": ((dim, "feature"), test.x, {})})
        if test.y is not None:
            found["held_out_data"] = self._dataset({"y": ((dim,), test.y, {})})
            found["held_out_log_likelihood"] = self._dataset(self._by_row(said, dim))
        return found

    def _prior(self, num_draws: int) -> dict[str, xr.Dataset]:
        priors = [prior_of(chain) for chain in self.chains]
        ensembles = [self._draw(p, num_draws, _PRIOR_STREAM + c) for c, p in enumerate(priors)]
        said = [
            data_likelihoods(e, self.train, self.run, seed=(self.seed, c, 2), what="prior")
            for c, e in enumerate(ensembles)
        ]
        return {
            "prior": self._dataset(self._statistics(self.chains, ensembles, said)),
            "prior_predictive": self._dataset(self._replicated(said, "row")),
        }

    def _dataset(self, variables: Variables) -> xr.Dataset:
        import xarray as xr

        dims = {
            dim: size
            for own, values, _ in variables.values()
            for dim, size in zip(own, values.shape, strict=True)
        }
        coords = {dim: self.names.coords.get(dim, np.arange(size)) for dim, size in dims.items()}
        attrs = {"inference_library": "bayes_sbn", "inference_library_version": __version__}
        return xr.Dataset(
            {name: (own, values, about) for name, (own, values, about) in variables.items()},
            coords=coords,
            attrs=attrs,
        )


def _by_draw(
    values: Array, words: str, *, invariant: bool | None = None
) -> tuple[tuple[str, ...], Array, dict[str, Any]]:
    about: dict[str, Any] = {"description": words}
    if invariant is not None:
        about["invariant"] = int(invariant)
    return ("chain", "draw"), values, about


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


def _y(rows: Rows) -> Array:
    assert rows.y is not None
    return rows.y


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
