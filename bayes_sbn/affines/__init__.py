"""Lazy pre-activations that know how they change when one ±1 operand flips."""

from bayes_sbn.affines.categorical import categorical_log_likelihood
from bayes_sbn.affines.dense import Affine, Operand, affine, broadcasts_to
from bayes_sbn.affines.function import (
    BernoulliLogLikelihood,
    MeanSign,
    NormalLogLikelihood,
    SignLogProb,
    UnitFunction,
)

__all__ = [
    "Affine",
    "BernoulliLogLikelihood",
    "MeanSign",
    "NormalLogLikelihood",
    "Operand",
    "SignLogProb",
    "UnitFunction",
    "affine",
    "broadcasts_to",
    "categorical_log_likelihood",
]
