"""Variational posteriors over ±1 weights."""

from bayes_sbn.guides.sign_bernoulli import AutoSignBernoulli
from bayes_sbn.guides.unrolled import UnrolledGuide

__all__ = ["AutoSignBernoulli", "UnrolledGuide"]
