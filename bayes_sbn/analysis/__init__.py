"""Posteriors looked into: ArviZ, diagnosis, exact posteriors of few weights, what needs refits.

=====================  ===========================================================================
to_arviz               draws of a posterior, and what they say of data, as ArviZ's groups
unpack                 the draws of the weights, of an export that has them
diagnose               what can be relied upon in a posterior, from those groups alone
exact_posterior        the posterior over all states of at most 20 ±1 weights, by Bayes' rule
sbc                    simulation-based calibration: does a fit get back what made the data?
kfold                  cross-validation: every row scored by a fit that has not seen it
=====================  ===========================================================================

Importing this loads neither torch nor Pyro.
"""

from bayes_sbn.analysis.arviz_export import to_arviz as to_arviz
from bayes_sbn.analysis.diagnosis import Diagnosis as Diagnosis
from bayes_sbn.analysis.diagnosis import diagnose as diagnose
from bayes_sbn.analysis.exact_posterior import ExactPosterior as ExactPosterior
from bayes_sbn.analysis.exact_posterior import exact_posterior as exact_posterior
from bayes_sbn.analysis.exact_predictive import ExactParts as ExactParts
from bayes_sbn.analysis.exact_predictive import ExactPredictive as ExactPredictive
from bayes_sbn.analysis.kfold import kfold as kfold
from bayes_sbn.analysis.kfold_result import Difference as Difference
from bayes_sbn.analysis.kfold_result import KFold as KFold
from bayes_sbn.analysis.packed_weights import unpack as unpack
from bayes_sbn.analysis.posterior_gap import PosteriorGap as PosteriorGap
from bayes_sbn.analysis.sbc import SBC as SBC
from bayes_sbn.analysis.sbc import sbc as sbc

__all__ = [
    "SBC",
    "Diagnosis",
    "Difference",
    "ExactParts",
    "ExactPosterior",
    "ExactPredictive",
    "KFold",
    "PosteriorGap",
    "diagnose",
    "exact_posterior",
    "kfold",
    "sbc",
    "to_arviz",
    "unpack",
]
