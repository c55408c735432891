"""The auxiliary variable of a guide: a component or factors, which all sites of a run share.

It is drawn by an effect of its own and not by ``pyro.sample``: Pyro's ELBOs would score a site, and
the model has none of that name.  Handlers see the effect as ``_pyro_auxiliary``, by its name; those
of estimators share a draw among copies, and repeat it in reruns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from pyro.poutine.runtime import effectful, get_plates
from torch import Tensor

from bayes_sbn.distributions import JointLaw, SignBernoulli
from bayes_sbn.guides.auto_sign import AutoSign
from bayes_sbn.guides.sign_bernoulli import AutoSignBernoulli
from bayes_sbn.guides.unrolled import UnrolledGuide


def draw_auxiliary(
    name: str,
    draw: Callable[[torch.Size], Tensor],
    shape: torch.Size,
    *,
    is_listed: bool = False,
) -> Tensor:
    """The auxiliary variable, by chance or as a handler says.

    Args:
        name: by which handlers know it.
        draw: from the shape of the plates around the guide to draws, those plates leftmost.
        shape: of those plates.
        is_listed: whether its values are 0, 1, ..., one of which a handler may ask for.
    """

    def fresh(copies: int = 1, state: int | None = None) -> Tensor:
        if state is not None and is_listed:
            return torch.full(shape, state)
        if copies == 1:
            return draw(shape)
        # neighbouring particles, along the leftmost dim, share their draw
        groups = torch.Size([shape[0] // copies, *shape[1:]])
        return draw(groups).repeat_interleave(copies, 0)

    value: Tensor = effectful(type="auxiliary")(fresh)(name=name)
    return value


def spread_over(value: Tensor, frames: torch.Size, shape: torch.Size, dims: int) -> Tensor:
    """Rows of draws as the leftmost dims of a site, whose own batch dims lie among the frames.

    Args:
        value: (number of draws, *shape).
        frames: the shape of the plates around the guide; its number is that of the draws.
        shape: of the site alone.
        dims: how many dims of the site are batch dims.
    """
    if not frames:
        return value.reshape(shape)
    lead = frames[: len(frames) - dims] if dims else frames
    return value.reshape(lead + shape)


class AutoSignConditional(AutoSign):
    """Guide over ±1 weights that are independent given an auxiliary variable.

    Subclasses draw it once a run (:meth:`_start`), and say what a site is given it.
    """

    _drawn: Any = None

    def _make_parameters(self, sites: Mapping[str, SignBernoulli]) -> None:
        self._batch_dims = {name: len(prior.batch_shape) for name, prior in sites.items()}
        super()._make_parameters(sites)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run guide and model together; returns the values of all sites by name."""
        self._drawn = None
        try:
            return super().__call__(*args, **kwargs)
        finally:
            self._drawn = None

    def _pyro_sample(self, msg: Any) -> None:
        prior = msg["fn"]
        if isinstance(prior, SignBernoulli) and not msg["is_observed"] and self.is_set_up:
            # the plates around the guide, which have yet to broadcast it, are those of the draws
            batch = torch.broadcast_shapes(prior.batch_shape, self._joint().shape)
            msg["fn"] = prior.expand(batch)
        super()._pyro_sample(msg)

    def _start(self, frames: tuple[Any, ...], shape: torch.Size) -> JointLaw:
        """The joint law of a run, with the auxiliary variable drawn."""
        raise NotImplementedError(f"{self._name} has no _start(frames, shape)")

    def _joint(self) -> Any:
        """The joint law of this run; its first site makes the draw."""
        if self._drawn is None:
            outer = getattr(self, "_outer_plates", ())
            frames = tuple(f for f in get_plates() if f.vectorized and f.name in outer)
            depth = max((-f.dim for f in frames), default=0)
            sizes = {f.dim: f.size for f in frames}
            shape = torch.Size(sizes.get(dim, 1) for dim in range(-depth, 0))
            self._drawn = self._start(frames, shape)
        return self._drawn

    def _mean_field(
        self, leaves: Mapping[str, Tensor], *, gradient: str = "natural"
    ) -> AutoSignBernoulli:
        """A mean-field guide of the same model with copies of these leaves."""
        own = torch.Generator()  # of a start that is overwritten
        guide = AutoSignBernoulli(self.model, gradient=gradient, generator=own)
        if not guide.is_set_up:
            guide._make_parameters({n: SignBernoulli(probs=p) for n, p in self._priors.items()})
        with torch.no_grad():
            for name, leaf in leaves.items():
                guide.leaf(name).copy_(leaf)
        return guide

    def unrolled(self) -> UnrolledGuide:
        """Refused: as a plain function the sites would be independent."""
        raise NotImplementedError(
            f"{self._name}.unrolled(): given its component or factors the weights are independent, "
            "and TraceEnum_ELBO would sum over one of these alone. For the exact gradient of a "
            'mixture write TraceEstimator_ELBO("exact").'
        )

    def law(self, leaf: Tensor) -> SignBernoulli:
        """Refused: a leaf alone has no law."""
        del leaf
        raise NotImplementedError(
            f"{self._name}.law(leaf): the law of a site depends on the draw that all sites share. "
            f"Write {self._name}.weight_probabilities() for the marginals."
        )
