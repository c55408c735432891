r"""A guide as a plain Pyro function, for ELBOs that refuse messengers.

It runs the model, with the guide's laws ``q(w)`` in place of the priors ``p(w)`` of the latent
sites; observed and other sites stay hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample


class SignGuide(Protocol):
    """A guide that states the law of each latent site that it infers."""

    model: Callable[..., Any]

    def covers(self, prior: Any) -> bool:
        """Whether the guide has a law for a latent site, be it the model's own conditional."""

    def prepare(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Make the parameters if need be."""

    def get_posterior(self, name: str, prior: Any) -> Any:
        """The law of a site, or the prior itself where the site follows the model."""


class _PosteriorMessenger(Messenger):
    """Replaces the laws of latent sites by the guide's, and marks what follows the model."""

    def __init__(self, guide: SignGuide) -> None:
        super().__init__()
        self.guide = guide

    def _pyro_sample(self, msg: Any) -> None:
        fn = msg["fn"]
        if msg["is_observed"] or site_is_subsample(msg) or not self.guide.covers(fn):
            return
        posterior = self.guide.get_posterior(msg["name"], fn)
        msg["infer"]["follows_model"] = posterior is fn
        if posterior.batch_shape != fn.batch_shape:
            posterior = posterior.expand(fn.batch_shape)
        msg["fn"] = posterior


class UnrolledGuide:
    """A guide as a plain function: it runs the model with the posterior's laws of the weights."""

    def __init__(self, guide: SignGuide) -> None:
        self.guide = guide

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Sample all latent sites that the guide infers; observed and other sites stay hidden."""
        self.guide.prepare(args, kwargs)
        with poutine.block(hide_fn=_is_hidden), _PosteriorMessenger(self.guide):
            self.guide.model(*args, **kwargs)


def _is_hidden(msg: Any) -> bool:
    """Whether no law of the guide stands at a site; those that have one carry the mark."""
    if msg["type"] != "sample" or site_is_subsample(msg):
        return False
    return msg["is_observed"] or "follows_model" not in msg["infer"]
