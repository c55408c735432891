"""Bayesian learning with stochastic binary networks, on Pyro.

Networks whose activations and weights are ±1 coins, fitted by variational inference with gradient
estimators made for them, and predicted with as ensembles of bits.  ``import bayes_sbn as sbn``
loads nothing but this file; each name below is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_MODULES = (
    "analysis",
    "conformal",
    "distributions",
    "estimators",
    "guides",
    "kernels",
    "metrics",
    "models",
    "noise",
    "optim",
    "plots",
    "recalibration",
)

_NAMES = {
    "affine": "bayes_sbn.affines",
    "affine_conv1d": "bayes_sbn.affines",
    "affine_conv2d": "bayes_sbn.affines",
    "as_signs": "bayes_sbn.signs_of_data",
    "exact_flips": "bayes_sbn.signs_flipped",
    "fold_normalisation": "bayes_sbn.affines",
    "identity": "bayes_sbn.affines",
    "average_pool1d": "bayes_sbn.signs_average_pooled",
    "average_pool2d": "bayes_sbn.signs_average_pooled",
    "max_pool1d": "bayes_sbn.signs_max_pooled",
    "max_pool2d": "bayes_sbn.signs_max_pooled",
    "flatten": "bayes_sbn.signs_rearranged",
    "permute": "bayes_sbn.signs_rearranged",
    "reshape": "bayes_sbn.signs_rearranged",
    "SignBernoulli": "bayes_sbn.distributions",
    "NoisySign": "bayes_sbn.distributions",
    "AffineBernoulli": "bayes_sbn.distributions",
    "AffineCategorical": "bayes_sbn.distributions",
    "AffineNormal": "bayes_sbn.distributions",
    "FlipLikelihood": "bayes_sbn.distributions",
    "Estimator": "bayes_sbn.estimators",
    "Site": "bayes_sbn.estimators",
    "register_estimator": "bayes_sbn.estimators",
    "straight_through": "bayes_sbn.estimators",
    "EstimatorMessenger": "bayes_sbn.messenger",
    "force_draws": "bayes_sbn.messenger_forced",
    "TraceEstimator_ELBO": "bayes_sbn.elbo",
    "DataParallel_ELBO": "bayes_sbn.elbo_parallel",
    "audit": "bayes_sbn.gradient_audit",
    "fit": "bayes_sbn.training",
    "Plateau": "bayes_sbn.training_schedule",
    "choose_temperature": "bayes_sbn.training_temperature",
    "temperature_rule": "bayes_sbn.training_temperature",
    "summary": "bayes_sbn.network_summary",
    "report": "bayes_sbn.html_report",
    "HTMLReport": "bayes_sbn.html_report",
    "Posterior": "bayes_sbn.posterior",
    "Ensemble": "bayes_sbn.ensemble",
    "RegressionEnsemble": "bayes_sbn.ensemble_regression",
    "RecalibratedEnsemble": "bayes_sbn.ensemble_recalibrated",
    "Predictions": "bayes_sbn.predictions",
    "RegressionPredictions": "bayes_sbn.predictions_regression",
    "NestedPredictions": "bayes_sbn.predictions_nested",
    "NestedRegressionPredictions": "bayes_sbn.predictions_nested",
    "PackedPredictive": "bayes_sbn.predictive",
    "to_arviz": "bayes_sbn.analysis",
    "diagnose": "bayes_sbn.analysis",
}

__all__ = ["__version__", *_MODULES, *_NAMES]

if TYPE_CHECKING:
    from bayes_sbn import analysis as analysis
    from bayes_sbn import conformal as conformal
    from bayes_sbn import distributions as distributions
    from bayes_sbn import estimators as estimators
    from bayes_sbn import guides as guides
    from bayes_sbn import kernels as kernels
    from bayes_sbn import metrics as metrics
    from bayes_sbn import models as models
    from bayes_sbn import noise as noise
    from bayes_sbn import optim as optim
    from bayes_sbn import plots as plots
    from bayes_sbn import recalibration as recalibration
    from bayes_sbn.affines import affine as affine
    from bayes_sbn.affines import affine_conv1d as affine_conv1d
    from bayes_sbn.affines import affine_conv2d as affine_conv2d
    from bayes_sbn.affines import fold_normalisation as fold_normalisation
    from bayes_sbn.affines import identity as identity
    from bayes_sbn.analysis import diagnose as diagnose
    from bayes_sbn.analysis import to_arviz as to_arviz
    from bayes_sbn.distributions import AffineBernoulli as AffineBernoulli
    from bayes_sbn.distributions import AffineCategorical as AffineCategorical
    from bayes_sbn.distributions import AffineNormal as AffineNormal
    from bayes_sbn.distributions import FlipLikelihood as FlipLikelihood
    from bayes_sbn.distributions import NoisySign as NoisySign
    from bayes_sbn.distributions import SignBernoulli as SignBernoulli
    from bayes_sbn.elbo import TraceEstimator_ELBO as TraceEstimator_ELBO
    from bayes_sbn.elbo_parallel import DataParallel_ELBO as DataParallel_ELBO
    from bayes_sbn.ensemble import Ensemble as Ensemble
    from bayes_sbn.ensemble_recalibrated import RecalibratedEnsemble as RecalibratedEnsemble
    from bayes_sbn.ensemble_regression import RegressionEnsemble as RegressionEnsemble
    from bayes_sbn.estimators import Estimator as Estimator
    from bayes_sbn.estimators import Site as Site
    from bayes_sbn.estimators import register_estimator as register_estimator
    from bayes_sbn.estimators import straight_through as straight_through
    from bayes_sbn.gradient_audit import audit as audit
    from bayes_sbn.html_report import HTMLReport as HTMLReport
    from bayes_sbn.html_report import report as report
    from bayes_sbn.messenger import EstimatorMessenger as EstimatorMessenger
    from bayes_sbn.messenger_forced import force_draws as force_draws
    from bayes_sbn.network_summary import summary as summary
    from bayes_sbn.posterior import Posterior as Posterior
    from bayes_sbn.predictions import Predictions as Predictions
    from bayes_sbn.predictions_nested import NestedPredictions as NestedPredictions
    from bayes_sbn.predictions_nested import (
        NestedRegressionPredictions as NestedRegressionPredictions,
    )
    from bayes_sbn.predictions_regression import RegressionPredictions as RegressionPredictions
    from bayes_sbn.predictive import PackedPredictive as PackedPredictive
    from bayes_sbn.signs_average_pooled import average_pool1d as average_pool1d
    from bayes_sbn.signs_average_pooled import average_pool2d as average_pool2d
    from bayes_sbn.signs_flipped import exact_flips as exact_flips
    from bayes_sbn.signs_max_pooled import max_pool1d as max_pool1d
    from bayes_sbn.signs_max_pooled import max_pool2d as max_pool2d
    from bayes_sbn.signs_of_data import as_signs as as_signs
    from bayes_sbn.signs_rearranged import flatten as flatten
    from bayes_sbn.signs_rearranged import permute as permute
    from bayes_sbn.signs_rearranged import reshape as reshape
    from bayes_sbn.training import fit as fit
    from bayes_sbn.training_schedule import Plateau as Plateau
    from bayes_sbn.training_temperature import choose_temperature as choose_temperature
    from bayes_sbn.training_temperature import temperature_rule as temperature_rule


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(import_module(_NAMES[name]), name)
    elif name in _MODULES:
        value = import_module(f"bayes_sbn.{name}")
    else:
        raise AttributeError(
            f"module 'bayes_sbn' has no attribute {name!r}; it has {', '.join(sorted(__all__))}"
        )
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
