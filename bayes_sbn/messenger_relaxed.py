r"""The effect handler that repeats a run with smooth values in place of ±1 draws.

Control variates such as MuProp's and REBAR's compare the cost of a draw with that of a real number
in its place, and need the derivative of the latter.  The site is given the number.  Every ±1 site
whose law depends on it is given a smooth function of its own law and of its recorded uniforms; all
others, the weights above and the units below, are drawn from theirs as before.  What comes back is
therefore a smooth function of the number and of uniforms that the draw is independent of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from bayes_sbn.distributions import SignDistribution
from bayes_sbn.estimators import Soften
from bayes_sbn.messenger_forced import RerunMessenger
from bayes_sbn.signs import RelaxedTag, tag_relaxed, tag_sign


class RelaxedRerunMessenger(RerunMessenger):
    """Repeats a run: a leaf tensor at one site, smooth functions of it downstream.

    Args:
        name: of the site.
        value: a tensor of the site's shape that requires a gradient.
        soften: from the law and the uniforms of a downstream site to its value.
        uniforms: of the other ±1 sites.
        recorded: values of all other sites, the rows that plates drew included.
    """

    def __init__(
        self,
        name: str,
        value: Tensor,
        soften: Soften,
        uniforms: Mapping[str, Tensor],
        recorded: Mapping[str, Any],
    ) -> None:
        super().__init__({name: value}, uniforms, recorded)
        self.soften = soften
        self.leaf = value

    def _pyro_sample(self, msg: Any) -> None:
        name, fn = msg["name"], msg["fn"]
        is_latent = not msg["is_observed"] and msg["value"] is None
        known = name in self.values or name in self.uniforms
        if not (is_latent and known and isinstance(fn, SignDistribution)):
            super()._pyro_sample(msg)
            return
        self.unused.discard(name)
        if name in self.values:
            value = tag_relaxed(self.leaf, RelaxedTag(name, "a relaxed rerun"))
            msg["value"] = fn.remembered_by(value)
            return
        uniform = self.uniforms[name]
        smooth = self.soften(fn, uniform)
        if depends_on(smooth, self.leaf):
            value = tag_relaxed(smooth, RelaxedTag(name, "a relaxed rerun"))
        else:
            value = tag_sign(fn.draw(uniform), name, None)
        msg["value"] = fn.remembered_by(value)


def depends_on(tensor: Tensor, leaf: Tensor) -> bool:
    """Whether the graph of a tensor contains a leaf."""
    if tensor is leaf:
        return True
    waiting, seen = [tensor.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if getattr(node, "variable", None) is leaf:
            return True
        waiting.extend(parent for parent, _ in node.next_functions)
    return False
