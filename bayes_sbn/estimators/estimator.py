r"""What a gradient estimator is, and the registry of their names.

An estimator says how one ±1 site is drawn and how the expectation of a loss over it is
differentiated.  It has up to two parts:

* ``draw(site, uniform)``: the value, with the backward rule of a path estimator.  The uniforms
  are its only randomness, so that expectations over draws are finite sums over given draws.
* ``surrogate(site, cost, rerun)``: a term whose gradient is added to that of the loss, for
  estimators that weigh ``log q`` (score function) or compare reruns.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from bayes_sbn.distributions import SignDistribution
from bayes_sbn.signs import FlipRule


@dataclass(frozen=True)
class Site:
    """One ±1 site as an estimator sees it.

    Args:
        name: of the site.
        fn: its law.
        value: the draw; None before it is drawn.
        uniform: what the draw was made of; None before it is drawn.
        particle_dim: the batch dim of vectorised particles, counted from the right; None where
            there is one draw.
    """

    name: str
    fn: SignDistribution
    value: Tensor | None = None
    uniform: Tensor | None = None
    particle_dim: int | None = None

    @property
    def shape(self) -> Any:
        """The shape of a draw."""
        return self.fn.shape()

    def log_prob(self) -> Tensor:
        """``log q(value)``, of the batch shape of the law."""
        if self.value is None:
            raise RuntimeError(f'site "{self.name}" has not been drawn, so it has no log_prob yet.')
        return self.fn.log_prob(self.value)

    def need_uniform(self, estimator: str) -> Tensor:
        """The uniforms of the draw; an error where it was given by its value."""
        return check_uniforms(estimator, self, self.uniform, "the estimator").detach()

    def smaller_probability(self) -> Tensor:
        """``min(p_i, 1 - p_i)``, a constant, to full precision; at least one unit of a uniform.

        Where it is below that, draws that are paired agree.
        """
        with torch.no_grad():
            rarer = torch.where(self.fn.probs > 0.5, -1.0, 1.0).to(self.fn.parameter.dtype)
            smaller = self.fn.state_log_prob(rarer).exp()
            return smaller.clamp_min(torch.finfo(smaller.dtype).eps)

    def over_event(self, cost: Tensor) -> Tensor:
        """A cost per batch element, with dims of 1 for the event."""
        return cost.reshape(cost.shape + (1,) * self.fn.event_dim)

    def weigh_mean(self, weights: Tensor) -> Tensor:
        """``sum_i weights_i E[x_i]`` over the event dims: the gradient in means is ``weights``."""
        product = self.fn.mean_path() * weights.detach()
        return product.sum(tuple(range(-self.fn.event_dim, 0))) if self.fn.event_dim else product


def are_uniforms(uniform: Tensor) -> bool:
    """Whether they are in [0, 1]; a draw that was given by its value has made-up ones outside."""
    return not bool(((uniform < 0) | (uniform > 1)).any())


def refuse_values(estimator: str, site: Site, uniform: Tensor) -> None:
    """Raise where a draw was given by its value, of an estimator that draws nothing."""
    if not are_uniforms(uniform):
        raise ValueError(
            f'estimator "{estimator}", site "{site.name}": the draw was given by its value, '
            "but nothing is drawn. Leave the site out of force_draws, or choose another "
            "estimator for it."
        )


def check_uniforms(estimator: str, site: Site, uniform: Tensor | None, needed: str) -> Tensor:
    """The uniforms; raise where a draw was given by its value, so that they are not known.

    Args:
        estimator: its name.
        site: what is drawn.
        uniform: what it is drawn of.
        needed: what needs the uniforms.
    """
    if uniform is None or not are_uniforms(uniform):
        raise ValueError(
            f'estimator "{estimator}", site "{site.name}": the draw was given by its value, but '
            f"{needed} needs its uniforms. Write "
            f"force_draws({{}}, uniforms={{{site.name!r}: ...}}) with numbers in [0, 1]."
        )
    return uniform


Soften = Callable[[SignDistribution, Tensor], Tensor]
"""From the law and the uniforms of a ±1 site to a smooth value in place of its draw."""


class Rerun(Protocol):
    """Runs what is downstream of a site again, with the same uniforms elsewhere."""

    def __call__(self, values: Mapping[str, Tensor]) -> Tensor:
        """From ±1 values of the site to the cost per batch element, a constant."""
        ...

    def relaxed(self, values: Mapping[str, Tensor], soften: Soften) -> Tensor:
        """From real values of the site, a leaf tensor, to the cost, differentiable in them.

        Args:
            values: of the site.
            soften: what the ±1 sites downstream of it are given in place of their draws.
        """
        ...


def differentiated(cost: Tensor, value: Tensor) -> Tensor:
    """The derivative of costs in the values of their batch elements; 0 where there is none."""
    if not cost.requires_grad:
        return torch.zeros_like(value)
    (slope,) = torch.autograd.grad(cost.sum(), value, allow_unused=True)
    return torch.zeros_like(value) if slope is None else slope


class Estimator:
    """How one ±1 site is drawn and differentiated; subclass it and register the class.

    Class attributes, which :func:`table` prints:
        unbiased: True, False, or in words when it is.
        passes: network evaluations per step and site of this estimator, reruns included.
        output: what children receive: ``"sign"`` (±1), ``"relaxed"`` or ``"moments"``.
        reference: where it is published.

    And two that it does not:
        scope: ``"site"``, or ``"elbo"`` of one that is for a whole ELBO and no single site.
        particles: the fewest draws, side by side, that one step needs.
    """

    unbiased: ClassVar[bool | str] = False
    passes: ClassVar[int | str] = 1
    output: ClassVar[str] = "sign"
    scope: ClassVar[str] = "site"
    reference: ClassVar[str] = ""
    particles: ClassVar[int] = 1
    name: ClassVar[str] = ""

    flip: FlipRule | None = None
    """How children differentiate in the value: by exact flips, or (None) by derivatives."""

    @property
    def is_path(self) -> bool:
        """Whether the draw alone carries the gradient: there is no surrogate of its own."""
        return type(self).surrogate is Estimator.surrogate

    def for_site(self, fn: SignDistribution) -> Estimator:
        """The estimator of a site of this law: itself, unless it leaves some to another."""
        del fn
        return self

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """The value of the site from its uniforms, with its backward rule."""
        raise NotImplementedError(
            f'estimator "{self.name or type(self).__name__}" has no draw(site, uniform)'
        )

    def surrogate(self, site: Site, cost: Tensor, rerun: Rerun) -> Tensor | None:
        """An extra term of the loss, or None.

        Args:
            site: the site with its value.
            cost: the cost downstream of the site, per batch element, a constant.
            rerun: re-executes what is downstream of the site for other values of it.
        """
        del site, cost, rerun
        return None

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


REGISTRY: dict[str, type[Estimator]] = {}
"""The registered estimators by name."""

EstimatorT = TypeVar("EstimatorT", bound=type[Estimator])


def register_estimator(name: str) -> Callable[[EstimatorT], EstimatorT]:
    """Class decorator that makes an estimator selectable by name.

    Args:
        name: the name; a name that is taken is overwritten, with a warning.

    Example:
        >>> import bayes_sbn as sbn
        >>> @sbn.register_estimator("plain")
        ... class Plain(sbn.Estimator):
        ...     def draw(self, site, uniform):
        ...         return sbn.straight_through(site.fn, uniform)
    """

    def register(cls: EstimatorT) -> EstimatorT:
        if not (isinstance(cls, type) and issubclass(cls, Estimator)):
            raise TypeError(
                f'register_estimator("{name}") decorates a subclass of bayes_sbn.Estimator, '
                f"not {cls!r}."
            )
        if cls.output not in ("sign", "relaxed", "moments"):
            raise ValueError(
                f'register_estimator("{name}"): output={cls.output!r} is not known; it is '
                '"sign", "relaxed" or "moments".'
            )
        taken = REGISTRY.get(name)
        if taken is not None and (taken.__module__, taken.__qualname__) != (
            cls.__module__,
            cls.__qualname__,
        ):
            warnings.warn(
                f'register_estimator("{name}") replaces {taken.__module__}.{taken.__qualname__}.',
                stacklevel=2,
            )
        cls.name = name
        REGISTRY[name] = cls
        return cls

    return register


def get_estimator(estimator: str | Estimator) -> Estimator:
    """The estimator of that name with its defaults, or the instance itself.

    Raises:
        ValueError: the name is not registered; the message lists those that are.
        TypeError: neither a name nor an instance.
    """
    if isinstance(estimator, Estimator):
        return estimator
    if isinstance(estimator, type) and issubclass(estimator, Estimator):
        raise TypeError(
            f"estimator={estimator.__name__} is a class; pass an instance, {estimator.__name__}()."
        )
    if not isinstance(estimator, str):
        raise TypeError(
            f"estimator={estimator!r} is a {type(estimator).__name__}; it is a registered name or "
            'an Estimator instance, such as "psa".'
        )
    if estimator not in REGISTRY:
        raise ValueError(
            f'estimator="{estimator}" is not registered; known are '
            f"{', '.join(sorted(REGISTRY))}. Register your own with "
            "@bayes_sbn.register_estimator(name)."
        )
    return REGISTRY[estimator]()


def table() -> str:
    """Every registered estimator: name, when unbiased, output, cost in passes, reference."""
    header = ("name", "unbiased", "output", "passes", "reference")
    rows = [
        (name, _in_words(cls.unbiased), cls.output, str(cls.passes), cls.reference)
        for name, cls in sorted(REGISTRY.items())
    ]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _in_words(unbiased: bool | str) -> str:
    if isinstance(unbiased, str):
        return unbiased
    return "always" if unbiased else "no"
