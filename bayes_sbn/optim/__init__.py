"""Optimisers: mirror descent for ±1 weights, and what others like it are made from."""

from bayes_sbn.optim import mirror_descent
from bayes_sbn.optim.pyro_optim import MirrorDescent
from bayes_sbn.optim.sign_optim import SignOptim

__all__ = ["MirrorDescent", "SignOptim", "mirror_descent"]
