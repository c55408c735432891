"""Stochastic binary networks as Pyro models."""

from bayes_sbn.models.binary_layer import BinaryLinear, WeightPrior
from bayes_sbn.models.mlp import BinaryMLP

__all__ = ["BinaryLinear", "BinaryMLP", "WeightPrior"]
