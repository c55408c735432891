r"""Latent weights: an ordinary optimiser on the real numbers behind ±1 weights, clipped.

    v <- clip( step(v, dL/dw), -clip, clip ),      w = sign(v)    or    P(w = +1) = (1 + v) / 2,

straight-through: the derivative in the weight is given to the latent as it is.  The guide says how
v is made binary: by its sign (:class:`bayes_sbn.guides.AutoSignDelta`; BinaryConnect, BNN and
XNOR-Net without its scales), or at random
(``AutoSignBernoulli(model, noise="uniform")``; stochastic BinaryConnect, whose plain steps with
``clip=1`` are the projected gradient, mirror descent of the squared distance).

What is clipped is the latent, after the step.  A mask ``|v| <= 1`` on the *gradient*, which many
implementations have beside it or in its place, is not here: it is the derivative of a clip that the
draw of the weight, whose derivative in its mean is 1, does not have, and without the clip of the
latents it freezes whatever has left [-1, 1] for ever.

Without clipping, decay and Adam's eps, scaling latents and steps by the same c changes no sign: for
signs ``lr`` and the spread of the start are one setting.

References:
    Courbariaux, Bengio, David. BinaryConnect. NeurIPS 2015.
    Hubara, Courbariaux, Soudry, El-Yaniv, Bengio. Binarized neural networks. NeurIPS 2016.
    Rastegari, Ordonez, Redmon, Farhadi. XNOR-Net. ECCV 2016.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.dual import leaf_of
from bayes_sbn.noise import Uniform
from bayes_sbn.optim.named_optimizer import checked_name
from bayes_sbn.optim.sign_rule import SignRule

NEEDS_MORE = ("LBFGS", "SparseAdam", "Muon")
"""Rules of torch that ask for a closure, sparse gradients, or matrices."""


class LatentWeights(SignRule):
    """A rule of ``torch.optim`` on latents, which are clipped after each step.

    Args:
        params: latents, or groups of them.
        lr: step size of the rule; None for the one among its options, or its own default.
        rule: the name of the rule and its options.
        clip: the largest |v| after a step; None clips nothing.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float | None = None,
        *,
        rule: tuple[str, Mapping[str, Any]] = ("Adam", {}),
        clip: float | None = 1.0,
    ) -> None:
        if not (clip is None or 0 < clip < math.inf):
            raise ValueError(
                f"LatentWeights(clip={clip}): the largest |latent| is positive and finite; None "
                "clips nothing."
            )
        name, options = checked_name("LatentWeights", "rule", rule, NEEDS_MORE)
        if lr is not None:
            if "lr" in options:
                raise ValueError(
                    f"LatentWeights(lr={lr}, rule={rule!r}): the step size is given twice. Leave "
                    "one of them out."
                )
            options["lr"] = lr
        try:
            inner = getattr(torch.optim, name)(params, **options)
        except (TypeError, ValueError) as error:
            raise type(error)(f"LatentWeights(rule=({name!r}, {options})): {error}") from None
        self._inner: torch.optim.Optimizer = inner
        super().__init__(inner.param_groups, {**inner.defaults, "clip": clip})

    def __getstate__(self) -> dict[str, Any]:
        """What a copy needs: torch's own, and the rule."""
        state: dict[str, Any] = super().__getstate__()
        return {**state, "_inner": self._inner}

    def _check(self, leaf: Tensor, group: dict[str, Any]) -> None:
        _check_leaf(leaf)
        super()._check(leaf, group)

    def _move_all(self, steps: list[tuple[Tensor, dict[str, Any]]]) -> None:
        """One step of the rule, and the clip."""
        # groups and state are this optimiser's, which schedules and files know
        self._inner.param_groups, self._inner.state = self.param_groups, self.state
        self._inner.step()
        for leaf, group in steps:
            if group["clip"] is not None:
                leaf.clamp_(-group["clip"], group["clip"])


def _check_leaf(leaf: Tensor) -> None:
    """Raise unless the weights are signs, or random by uniform noise."""
    known = leaf_of(leaf)
    if known is None or known.is_point or isinstance(known.noise, Uniform):
        return
    raise RuntimeError(
        f'LatentWeights: the leaves of the weights "{known.path}" are quantiles of '
        f"{known.noise!r}, which are no latent weights to clip. Write "
        'sbn.guides.AutoSignDelta(model), AutoSignBernoulli(model, noise="uniform"), or '
        "sbn.optim.MirrorDescent."
    )
