"""Optimisers: mirror descent for ±1 weights, its rivals, and their base."""

from bayes_sbn.optim import bayes_binn, bop, latent_weights, md_tanh, mirror_descent
from bayes_sbn.optim.pyro_optim import BayesBiNN, Bop, LatentWeights, MDTanh, MirrorDescent
from bayes_sbn.optim.sign_optim import SignOptim

__all__ = [
    "BayesBiNN",
    "Bop",
    "LatentWeights",
    "MDTanh",
    "MirrorDescent",
    "SignOptim",
    "bayes_binn",
    "bop",
    "latent_weights",
    "md_tanh",
    "mirror_descent",
]
