r"""Mirror descent for Pyro's SVI: its rule for ±1 weights, an optimiser of torch for the rest."""

from __future__ import annotations

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
