"""Pyro distributions of ±1 variables, and likelihoods on a lazy affine."""

from bayes_sbn.distributions.affine_likelihood import AffineLikelihood
from bayes_sbn.distributions.flip_likelihood import FlipLikelihood
from bayes_sbn.distributions.likelihoods import (
    AffineBernoulli,
    AffineCategorical,
    AffineNormal,
)
from bayes_sbn.distributions.noisy_sign import NoisySign
from bayes_sbn.distributions.sign_bernoulli import SignBernoulli
from bayes_sbn.distributions.sign_bernoulli_kl import kl_sign_bernoulli as _registers_the_kl  # noqa: F401
from bayes_sbn.distributions.sign_conditional import ConditionalSign, JointLaw
from bayes_sbn.distributions.sign_delta import SignDelta
from bayes_sbn.distributions.support import SignDistribution, check_signs, signs

__all__ = [
    "AffineBernoulli",
    "AffineCategorical",
    "AffineLikelihood",
    "AffineNormal",
    "ConditionalSign",
    "FlipLikelihood",
    "JointLaw",
    "NoisySign",
    "SignBernoulli",
    "SignDelta",
    "SignDistribution",
    "check_signs",
    "signs",
]
