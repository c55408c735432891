"""The groups of an export, computed: draws of the chains, of their priors, of wider proposals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bayes_sbn import __version__
from bayes_sbn.analysis.arviz_chains import prior_of
from bayes_sbn.analysis.arviz_names import Names
from bayes_sbn.analysis.data_likelihoods import DataLikelihoods, Rows, Run, data_likelihoods
from bayes_sbn.analysis.defensive_draws import defensive_levels, log_defensive
from bayes_sbn.analysis.layer_statistics import STATISTICS, layer_statistics
from bayes_sbn.analysis.packed_weights import packed_weights
from bayes_sbn.analysis.variational_law import variational_law
from bayes_sbn.analysis.weight_densities import log_densities

if TYPE_CHECKING:
    import xarray as xr

    from bayes_sbn.ensemble import Ensemble
    from bayes_sbn.posterior import Posterior

Array = npt.NDArray[Any]
Variables = dict[str, tuple[tuple[str, ...], Any, dict[str, Any]]]

ORDER = (
    "posterior",
    "posterior_predictive",
    "predictions",
    "log_likelihood",
    "sample_stats",
    "prior",
    "prior_predictive",
    "observed_data",
    "constant_data",
    "predictions_constant_data",
    "held_out_data",
    "held_out_log_likelihood",
    "defensive",
    "variational",
    "posterior_packed",
)
"""The groups as ArviZ's schema has them, and after those our own."""

_PRIOR_STREAM = 1 << 63
_DEFENSIVE_STREAM = 1 << 62

_DATA_STATISTICS = {
    "mean_log_lik": "log p(y_n | w), activations averaged out, mean over the rows",
    "accuracy": "share of rows whose most probable class, activations averaged out, is the label",
    "entropy": "entropy of the class probabilities, activations averaged out, nats, mean over rows",
    "rmse": "root mean square error of the mean prediction",
    "mean_prediction": "mean of the predictions over the rows",
}

_WORDS = {
    "lp": "log p(w) + log p(y | w)",
    "log_q": "log q(w), of the posterior that was fitted",
    "log_prior": "log p(w)",
    "log_lik": "log p(y | w), activations averaged out",
    "log_lik_mcse": "standard error of log_lik, of a finite number of activations",
    "trained_lp": "log p(w) + E_z log p(y | z, w) / T, the target of the fit",
    "log_lik_replicated": "log p(replicated data | w)",
    "log_defensive": "log d(w), of the wider proposal",
}


class Export:
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

    def groups(
        self, num_draws: int, num_prior: int, num_defensive: int, *, packed: bool
    ) -> dict[str, xr.Dataset]:
        """All groups, in their order."""
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
            "observed_data": self._dataset({"y": (("row",), self.train.y, {})}),
            "constant_data": self._dataset({"x": (("row", "feature"), self.train.x, {})}),
            "variational": self._dataset(variational_law(self.chains, self.names)),
        }
        if self.test is not None:
            found |= self._predictions(ensembles, self.test)
        if num_prior:
            found |= self._prior(num_prior)
        if num_defensive:
            log_d = [
                log_defensive(defensive_levels(chain), ensemble)
                for chain, ensemble in zip(self.chains, ensembles, strict=True)
            ]
            words = _WORDS["log_defensive"]
            at_draws = self._dataset({"log_defensive": _by_draw(np.stack(log_d), words)})
            found["sample_stats"] = found["sample_stats"].assign(at_draws)
            found["defensive"] = self._defensive(num_defensive)
        if packed:
            weights = packed_weights(self.chains, ensembles, self.names)
            found["posterior_packed"] = self._dataset(weights)
        return {name: found[name] for name in sorted(found, key=ORDER.index)}

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
        by_chain = []
        for chain, ensemble, each in zip(self.chains, ensembles, said, strict=True):
            own = _targets(chain, ensemble, each)
            own["log_lik_replicated"] = each.log_lik_replicated
            if self.run.num_activations > 1:
                own["log_lik_mcse"] = each.mcse
            by_chain.append(own)
        return _joined(by_chain)

    def _defensive(self, num_draws: int) -> xr.Dataset:
        by_chain = []
        for chain, posterior in enumerate(self.chains):
            levels = defensive_levels(posterior)
            shares = np.array_split(np.arange(num_draws), len(levels))
            parts = []
            for level, own in enumerate(levels):
                if not len(shares[level]):
                    continue
                stream = _DEFENSIVE_STREAM + chain * len(levels) + level
                ensemble = self._draw(own, len(shares[level]), stream)
                said = data_likelihoods(
                    ensemble, self.train, self.run, seed=(), what="defensive", replicate=False
                )
                found = _targets(posterior, ensemble, said)
                parts.append(found | {"log_defensive": log_defensive(levels, ensemble)})
            by_chain.append({name: np.concatenate([p[name] for p in parts]) for name in parts[0]})
        return self._dataset(_joined(by_chain))

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


def _targets(posterior: Posterior, ensemble: Ensemble, said: DataLikelihoods) -> dict[str, Array]:
    """What importance ratios are made of, (draws,) each."""
    log_q, log_prior = log_densities(posterior, ensemble)
    log_lik = said.log_lik.sum(axis=-1)
    found = {
        "lp": log_prior + log_lik,
        "log_q": log_q,
        "log_prior": log_prior,
        "log_lik": log_lik,
    }
    if posterior.temperature:
        found["trained_lp"] = log_prior + said.trained / posterior.temperature
    return found


def _joined(by_chain: Sequence[dict[str, Array]]) -> Variables:
    return {
        name: _by_draw(np.stack([chain[name] for chain in by_chain]), _WORDS[name])
        for name in by_chain[0]
    }


def _by_draw(
    values: Array, words: str, *, invariant: bool | None = None
) -> tuple[tuple[str, ...], Array, dict[str, Any]]:
    about: dict[str, Any] = {"description": words}
    if invariant is not None:
        about["invariant"] = int(invariant)
    return ("chain", "draw"), values, about
