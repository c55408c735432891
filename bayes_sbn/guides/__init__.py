"""Variational posteriors over ±1 weights, and over real weights beside them."""

from bayes_sbn.guides.auto_sign import AutoSign
from bayes_sbn.guides.hybrid import AutoHybrid
from bayes_sbn.guides.sign_bernoulli import AutoSignBernoulli
from bayes_sbn.guides.sign_delta import AutoSignDelta
from bayes_sbn.guides.sign_low_rank import AutoSignLowRank
from bayes_sbn.guides.sign_mixture import AutoSignMixture
from bayes_sbn.guides.unrolled import UnrolledGuide

__all__ = [
    "AutoHybrid",
    "AutoSign",
    "AutoSignBernoulli",
    "AutoSignDelta",
    "AutoSignLowRank",
    "AutoSignMixture",
    "UnrolledGuide",
]
