"""R-hat over restarts: agreement of what permuted units leave alone, and its limit."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import bayes_sbn as sbn
from bayes_sbn.analysis.arviz_versions import arviz
from bayes_sbn.analysis.restart_agreement import restart_agreement
from tests.analysis.posteriors import labelled, restarts
from tests.plain_networks import random_posterior

X, Y = labelled(30)
POSTERIOR = random_posterior(temperature=0.2)


def permuted(posterior, order, signs):
    """The same function with the units of the first hidden layer in another order, some negated.

    Of a symmetric law of the noise a unit with negated scale and bias has the opposite activation.
    """
    first, second, *rest = posterior.layers
    flipped = np.where(signs < 0, True, False)
    p = first.probabilities[order]
    p = np.where(flipped[:, None], 1 - p, p)
    prior = np.broadcast_to(first.prior, first.probabilities.shape)[order]
    q = second.probabilities[:, order]
    q = np.where(flipped[None], 1 - q, q)
    layers = (
        replace(
            first,
            probabilities=p,
            scale=first.scale[order],
            bias=np.where(flipped, -1, 1) * first.bias[order],
            prior=np.where(flipped[:, None], 1 - prior, prior),
        ),
        replace(second, probabilities=q, prior=0.5),
        *rest,
    )
    return sbn.Posterior(layers, posterior.input_scale)


def test_permuted_restarts_agree_and_others_do_not():
    posterior = random_posterior()
    g = np.random.default_rng(0)
    chains = [posterior] + [
        permuted(posterior, g.permutation(8), g.choice([-1, 1], 8)) for _ in range(2)
    ]
    options = {"num_draws": 400, "num_prior_draws": 0, "num_defensive_draws": 0}
    exported = sbn.to_arviz(chains, X[:10], Y[:10], **options)
    same = sbn.diagnose(exported).restarts
    assert same.agree
    assert same.num_chains == 3
    assert same.rhat[same.largest] <= same.limit < 1.02
    assert not any(name.endswith("weight_mean") for name in same.rhat)
    # R-hat of the weights themselves would cry wolf
    drawn = [chain.draw(400, 0, stream) for stream, chain in enumerate(chains)]
    weights = np.stack([sbn.kernels.unpack(each.weights[0]).numpy() for each in drawn])
    rhat = arviz().rhat(xr.Dataset({"w": (("chain", "draw", "out", "in"), weights[..., 1:7, 1:])}))
    assert float(rhat["w"].max()) > 1.5

    others = sbn.to_arviz(restarts(3), X[:10], Y[:10], **options)
    diagnosis = sbn.diagnose(others)
    assert not diagnosis.restarts.agree
    assert any(flag.startswith("Restarts found different functions") for flag in diagnosis.flags)


def test_limit_of_rhat_is_the_law_of_agreeing_chains():
    # R-hat of 400 pairs of chains of independent draws: the limit for 20 variables is exceeded by
    # one in 2000 of them, so none of the 400 is expected beyond it, and many beyond 1.0
    g = np.random.default_rng(1)
    values = g.normal(size=(2, 200, 20))
    posterior = xr.Dataset(
        {
            f"v{n}": (("chain", "draw"), values[..., n], {"invariant": 1})
            for n in range(values.shape[-1])
        }
    )
    log_lik = xr.Dataset({"y": (("chain", "draw", "row"), g.normal(size=(2, 200, 3)))})
    log_lik = log_lik.assign_coords(row=np.arange(3))
    found = restart_agreement({"posterior": posterior, "log_likelihood": log_lik})
    assert len(found.rhat) == 23
    assert found.agree
    shifted = posterior.copy(deep=True)
    shifted["v3"][1] += 0.7
    found = restart_agreement({"posterior": shifted, "log_likelihood": log_lik})
    assert not found.agree
    assert found.largest == "v3"
    n, m = 100, 4
    quantile = stats.f.isf(0.01 / 23, m - 1, m * (n - 1))
    assert found.limit == pytest.approx(np.sqrt((n - 1) / n + quantile / n))


def test_restarts_that_cannot_be_compared_are_not():
    one = sbn.to_arviz(POSTERIOR, X, Y, num_draws=8, num_prior_draws=0)
    assert sbn.diagnose(one).restarts is None
    few = sbn.to_arviz(restarts(2), X, Y, num_draws=3, num_prior_draws=0)
    assert sbn.diagnose(few).restarts is None


def test_chains_that_do_not_vary_and_differ_do_not_agree():
    log_lik = xr.Dataset({"y": (("chain", "draw", "row"), np.zeros((2, 20, 1)))})
    log_lik = log_lik.assign_coords(row=[0])
    shape = ("chain", "draw")

    def found(first, second):
        values = np.repeat([[first], [second]], 20, axis=1)
        posterior = xr.Dataset({"accuracy": (shape, values, {"invariant": 1})})
        return restart_agreement({"posterior": posterior, "log_likelihood": log_lik})

    assert found(0.9, 0.9) is None
    apart = found(0.9, 0.8)
    assert apart.rhat == {"accuracy": np.inf}
    assert not apart.agree
