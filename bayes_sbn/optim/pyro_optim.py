r"""Rules for ±1 weights as Pyro's SVI takes them: each with an optimiser of torch for the rest."""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_sbn.optim.bayes_binn import BayesBiNN as BayesBiNNRule
from bayes_sbn.optim.bop import Bop as BopRule
from bayes_sbn.optim.bop import check_threshold
from bayes_sbn.optim.latent_weights import LatentWeights as LatentWeightsRule
from bayes_sbn.optim.md_tanh import MDTanh as MDTanhRule
from bayes_sbn.optim.mirror_descent import MirrorDescent as MirrorDescentRule
from bayes_sbn.optim.sign_optim import SignOptim


class MirrorDescent(SignOptim):
    """Mirror descent for ±1 weights, an ordinary optimiser for the rest; for Pyro's SVI.

    Args:
        optim_args: options of :class:`bayes_sbn.optim.mirror_descent.MirrorDescent` (``lr``,
            ``adaptive``, ``momentum``, ``betas``, ``eps``, ``clamp``, ``kl``, ``noise``,
            ``clipping``), and ``real``: the name of an optimiser in ``torch.optim`` with its
            options, default ``("Adam", {"lr": 0.01})``.
        clip_args: ``clip_norm`` or ``clip_value``, as in ``pyro.optim``.

    Example:
        >>> import bayes_sbn as sbn
        >>> optim = sbn.optim.MirrorDescent({"lr": 0.05, "real": ("Adam", {"lr": 0.01})})
    """

    rule = MirrorDescentRule


class Bop(SignOptim):
    """Bop for ±1 weights that are signs, an ordinary optimiser for the rest; for Pyro's SVI.

    Its guide is :class:`bayes_sbn.guides.AutoSignDelta`.  ``scale_lr`` scales gamma.

    Args:
        optim_args: options of :class:`bayes_sbn.optim.bop.Bop` (``lr``, which is gamma, and
            ``threshold``), and ``real`` as for :class:`MirrorDescent`.
        clip_args: ``clip_norm`` or ``clip_value``, as in ``pyro.optim``.

    Example:
        >>> import bayes_sbn as sbn
        >>> optim = sbn.optim.Bop({"lr": 1e-3, "threshold": 1e-4, "real": ("Adam", {"lr": 0.01})})
    """

    rule = BopRule
    _threshold: float | None = None

    def set_threshold(self, threshold: float) -> None:
        """Set the threshold, also of weights that are yet to be met."""
        self._threshold = check_threshold(threshold)
        for rule in self.optim_objs.values():
            self._tell(rule)

    def _rule(self, members: list[Tensor], is_dual: bool) -> torch.optim.Optimizer:
        made = super()._rule(members, is_dual)
        self._tell(made)
        return made

    def _tell(self, rule: torch.optim.Optimizer) -> None:
        if self._threshold is not None and isinstance(rule, BopRule):
            for group in rule.param_groups:
                group["threshold"] = self._threshold


class BayesBiNN(SignOptim):
    """BayesBiNN's step for ±1 weights, an ordinary optimiser for the rest; for Pyro's SVI.

    Its estimator is :class:`bayes_sbn.estimators.BayesBiNN`, its temperature of the KL 1.

    Args:
        optim_args: options of :class:`bayes_sbn.optim.bayes_binn.BayesBiNN` (``lr``,
            ``momentum``), and ``real`` as for :class:`MirrorDescent`.
        clip_args: ``clip_norm`` or ``clip_value``, as in ``pyro.optim``.

    Example:
        >>> import bayes_sbn as sbn
        >>> optim = sbn.optim.BayesBiNN({"lr": 1e-3, "real": ("Adam", {"lr": 0.01})})
        >>> elbo = sbn.TraceEstimator_ELBO("bayes_binn", temperature=1.0)
    """

    rule = BayesBiNNRule


class MDTanh(SignOptim):
    """MD-tanh, MD-softmax or PMF for ±1 weights, an ordinary optimiser for the rest.

    Its estimator is :class:`bayes_sbn.estimators.MeanWeights`, without KL.

    Args:
        optim_args: options of :class:`bayes_sbn.optim.md_tanh.MDTanh` (``lr``, ``beta``,
            ``factor``, ``every``, ``max_beta``, ``through_tanh``, ``adaptive``, ``betas``,
            ``eps``), and ``real`` as for :class:`MirrorDescent`.
        clip_args: ``clip_norm`` or ``clip_value``, as in ``pyro.optim``.

    Example:
        >>> import bayes_sbn as sbn
        >>> optim = sbn.optim.MDTanh({"lr": 0.01, "factor": 1.1, "every": 20})
        >>> elbo = sbn.TraceEstimator_ELBO("mean", temperature=0.0)
    """

    rule = MDTanhRule


class LatentWeights(SignOptim):
    """An optimiser of torch on latent weights with a clip, another for the rest; for Pyro's SVI.

    Its guide is :class:`bayes_sbn.guides.AutoSignDelta`, or ``AutoSignBernoulli`` with uniform
    noise for weights that are drawn at random.

    Args:
        optim_args: options of :class:`bayes_sbn.optim.latent_weights.LatentWeights` (``lr``,
            ``rule``, ``clip``), and ``real`` as for :class:`MirrorDescent`.
        clip_args: ``clip_norm`` or ``clip_value``, as in ``pyro.optim``.

    Example:
        >>> import bayes_sbn as sbn
        >>> optim = sbn.optim.LatentWeights({"rule": ("Adam", {"lr": 0.01}), "clip": 1.0})
    """

    rule = LatentWeightsRule
