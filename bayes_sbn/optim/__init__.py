"""Optimisers: mirror descent for ±1 weights."""

from bayes_sbn.optim import mirror_descent
from bayes_sbn.optim.pyro_optim import MirrorDescent

__all__ = ["MirrorDescent", "mirror_descent"]
