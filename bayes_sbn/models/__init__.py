"""Stochastic binary networks as Pyro models."""

from bayes_sbn.models.binary_layer import BinaryLinear, WeightPrior
from bayes_sbn.models.mlp import BinaryMLP
from bayes_sbn.models.real_layer import RealLinear, RealWeightPrior
from bayes_sbn.models.regressor import BinaryRegressor

__all__ = [
    "BinaryLinear",
    "BinaryMLP",
    "BinaryRegressor",
    "RealLinear",
    "RealWeightPrior",
    "WeightPrior",
]
