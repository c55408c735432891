"""Posteriors looked into: export to ArviZ, exact posteriors of few weights, what needs refits.

=====================  ===========================================================================
to_arviz               draws of a posterior, and what they say of data, as ArviZ's groups
exact_posterior        the posterior over all states of at most 20 ±1 weights, by Bayes' rule
=====================  ===========================================================================

Importing this loads neither torch nor Pyro.
"""

from bayes_sbn.analysis.arviz_export import to_arviz as to_arviz
from bayes_sbn.analysis.exact_posterior import ExactPosterior as ExactPosterior
from bayes_sbn.analysis.exact_posterior import exact_posterior as exact_posterior
from bayes_sbn.analysis.exact_predictive import ExactParts as ExactParts
from bayes_sbn.analysis.exact_predictive import ExactPredictive as ExactPredictive
from bayes_sbn.analysis.posterior_gap import PosteriorGap as PosteriorGap

__all__ = [
    "ExactParts",
    "ExactPosterior",
    "ExactPredictive",
    "PosteriorGap",
    "exact_posterior",
    "to_arviz",
]
