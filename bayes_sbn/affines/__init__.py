"""Lazy pre-activations that know how they change when one ±1 operand flips."""

from bayes_sbn.affines.averaged import summed_log_likelihood
from bayes_sbn.affines.categorical import categorical_log_likelihood
from bayes_sbn.affines.convolution import Convolution, affine_conv1d, affine_conv2d
from bayes_sbn.affines.dense import Affine, affine
from bayes_sbn.affines.function import (
    BernoulliLogLikelihood,
    MeanSign,
    NormalLogLikelihood,
    SignLogProb,
    UnitFunction,
)
from bayes_sbn.affines.identity import Identity, identity
from bayes_sbn.affines.normalisation import fold_normalisation
from bayes_sbn.affines.operand import Operand
from bayes_sbn.affines.pre_activation import PreActivation, Term, broadcasts_to
from bayes_sbn.affines.redraw import asks_for_redraws, categorical_redraw, units_redraw
from bayes_sbn.affines.relaxed_sign import RelaxedSign, relaxed_mean_and_slope
from bayes_sbn.affines.sum import Sum

__all__ = [
    "Affine",
    "BernoulliLogLikelihood",
    "Convolution",
    "Identity",
    "MeanSign",
    "NormalLogLikelihood",
    "Operand",
    "PreActivation",
    "RelaxedSign",
    "SignLogProb",
    "Sum",
    "Term",
    "UnitFunction",
    "affine",
    "affine_conv1d",
    "affine_conv2d",
    "asks_for_redraws",
    "broadcasts_to",
    "categorical_log_likelihood",
    "categorical_redraw",
    "fold_normalisation",
    "identity",
    "relaxed_mean_and_slope",
    "summed_log_likelihood",
    "units_redraw",
]
