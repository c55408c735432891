r"""The effect handler that applies estimators to the ±1 sites of a guide.

:class:`EstimatorMessenger` gives every latent ±1 site of the function it wraps the drawing rule of
its estimator: the site's own ``infer={"estimator": ...}``, or the messenger's.  The rule travels
inside ``msg["fn"]`` and is applied when the site is drawn, after all plates have broadcast it, so
that stock ELBOs of Pyro see ordinary sites: with gradients (path estimators), or without.

Draws are given instead of chance, by the same rules, by :mod:`bayes_sbn.messenger_forced`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from bayes_sbn.distributions import SignBernoulli, SignDistribution, check_signs
from bayes_sbn.estimators import Estimator, EstimatorSet, Site
from bayes_sbn.kernels import draw_uniforms
from bayes_sbn.signs import (
    FlipRule,
    Redraw,
    RelaxedTag,
    tag_moments,
    tag_relaxed,
    tag_sign,
)

PARTICLE_PLATE = "num_particles_vectorized"
"""The name that Pyro gives the plate of vectorised particles."""


UniformSource = Callable[[torch.Size, Tensor], Tensor]
"""From a shape and a tensor of the wanted dtype and device to uniforms."""


class DrawRule:
    """How one site is drawn: its estimator, fed with uniforms, and what its children are told."""

    def __init__(
        self,
        name: str,
        estimator: Estimator,
        record: dict[str, Tensor],
        copies: int = 1,
        source: UniformSource = draw_uniforms,
    ) -> None:
        self.name = name
        self.estimator = estimator
        self.record = record
        self.copies = copies
        self.source = source

    def __call__(self, fn: SignDistribution, uniform: Tensor | None = None) -> Tensor:
        """The value of the site, tagged; chance only where no uniforms are given."""
        if uniform is None:
            uniform = self._uniform(fn)
        value = self.estimator.draw(Site(self.name, fn), uniform)
        if value.shape != fn.shape():
            raise ValueError(
                f'estimator "{self.estimator.name}" drew site "{self.name}" with shape '
                f"{tuple(value.shape)}; it must return the shape of the site, "
                f"{tuple(fn.shape())}."
            )
        # a path even where no parent needs a gradient, so that no ELBO adds a score to it
        fn.has_rsample = value.requires_grad or self.estimator.is_path
        self.record[self.name] = uniform
        if self.estimator.output == "sign":
            if not _is_own(self.estimator):
                check_signs(value, f'estimator "{self.estimator.name}", site "{self.name}"')
            return fn.remembered_by(tag_sign(value, self.name, self._flip(fn, value)))
        if self.estimator.output == "relaxed":
            tag = RelaxedTag(self.name, self.estimator.name)
            return fn.remembered_by(tag_relaxed(value, tag))
        return fn.remembered_by(tag_moments(value, self.name, self.estimator.name))

    def _uniform(self, fn: SignDistribution) -> Tensor:
        """Fresh uniforms; weights outside the plates are shared by the copies of a group."""
        shape, batch = fn.shape(), fn.batch_shape
        is_weight = isinstance(fn, SignBernoulli) and len(batch) > 0 and batch[0] == batch.numel()
        if self.copies == 1 or not is_weight:
            return self.source(shape, fn.parameter)
        groups = torch.Size([shape[0] // self.copies, *shape[1:]])
        return self.source(groups, fn.parameter).repeat_interleave(self.copies, 0)

    def _flip(self, fn: SignDistribution, value: Tensor) -> FlipRule | None:
        """The estimator's rule for the children, with the probabilities that it asks for."""
        flip = self.estimator.flip
        if flip is None or not flip.rao_blackwell:
            return flip
        return replace(flip, redraw=Redraw(value.detach(), lambda: fn.probs))


def _shared_by_copies(fn: Any, copies: int) -> Tensor:
    """A draw of a law outside the plates, the same in all copies of a group; others as they are."""
    value: Tensor = fn.rsample()
    batch = fn.batch_shape
    if len(batch) == 0 or batch[0] != batch.numel():
        return value
    return value[::copies].repeat_interleave(copies, 0)


def _is_own(estimator: Estimator) -> bool:
    """Whether an estimator is the package's, whose draws are ±1 by construction."""
    return type(estimator).__module__.partition(".")[0] == __name__.partition(".")[0]


class EstimatorMessenger(Messenger):
    """Draws the latent ±1 sites of a guide by gradient estimators.

    A decorator, a context manager and a wrapper, like every handler of Pyro.

    Args:
        estimator: the default, a registered name or an instance; a site's
            ``infer={"estimator": ...}`` goes before it.  Or a set of estimators with their state.
        copies: how many neighbouring vectorised particles share the draws of their weights.

    Example:
        >>> import bayes_sbn as sbn
        >>> from pyro.infer import TraceMeanField_ELBO
        >>> guided = sbn.EstimatorMessenger("psa")  # then TraceMeanField_ELBO().loss_and_grads(
        ... # model, guided(guide), x, y)
    """

    def __init__(
        self, estimator: str | Estimator | EstimatorSet = "psa", *, copies: int = 1
    ) -> None:
        super().__init__()
        self.copies = copies
        if not isinstance(estimator, EstimatorSet):
            estimator = EstimatorSet(estimator)
        self.estimators: EstimatorSet = estimator
        """The default, and those that sites chose: they keep their state from run to run."""
        self.uniforms: dict[str, Tensor] = {}
        """The uniforms of the last run, by site."""
        self.subsamples: dict[str, Tensor] = {}
        """The rows that plates drew in the last run, by plate."""
        self.auxiliary: dict[str, Tensor] = {}
        """The auxiliary variables of guides in the last run, by name."""

    def __enter__(self) -> Any:
        self.uniforms, self.subsamples, self.auxiliary = {}, {}, {}
        return super().__enter__()

    def _pyro_sample(self, msg: Any) -> None:
        fn = msg["fn"]
        if msg["is_observed"] or msg["value"] is not None:
            return
        if not isinstance(fn, SignDistribution):
            if self.copies > 1 and not site_is_subsample(msg) and fn.has_rsample:
                msg["value"] = _shared_by_copies(fn, self.copies)
            return
        if msg["infer"].get("enumerate"):
            return
        chosen = msg["infer"].get("estimator")
        try:
            estimator = self.estimators.of(msg["name"], chosen).for_site(fn)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f'site "{msg["name"]}", infer={{"estimator": ...}}: {error}'
            ) from None
        msg["infer"]["drawn_by"] = estimator
        rule = DrawRule(msg["name"], estimator, self.uniforms, self.copies, self._source(msg))
        msg["fn"] = fn.with_rule(rule)

    def _source(self, msg: Any) -> UniformSource:
        """Where the uniforms of a site come from."""
        del msg
        return draw_uniforms

    def _pyro_post_sample(self, msg: Any) -> None:
        if site_is_subsample(msg):
            self.subsamples[msg["name"]] = msg["value"]

    def _pyro_auxiliary(self, msg: Any) -> None:
        if self.copies > 1:
            msg["kwargs"]["copies"] = self.copies

    def _pyro_post_auxiliary(self, msg: Any) -> None:
        self.auxiliary[msg["name"]] = msg["value"]
