r"""The effect handler that applies estimators to the ±1 sites of a guide, and its forced twin.

:class:`EstimatorMessenger` gives every latent ±1 site of the function it wraps the drawing rule of
its estimator: the site's own ``infer={"estimator": ...}``, or the messenger's.  The rule travels
inside ``msg["fn"]`` and is applied when the site is drawn, after all plates have broadcast it, so
that stock ELBOs of Pyro see ordinary sites: with gradients (path estimators), or without.

:func:`force_draws` gives the draws instead of chance, by the same rules: expectations over draws
become finite sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


class ForceMessenger(Messenger):
    """Gives sites their draws, or their uniforms; see :func:`force_draws`."""

    def __init__(
        self,
        values: Mapping[str, Tensor],
        uniforms: Mapping[str, Tensor],
        *,
        call: str = "force_draws",
    ) -> None:
        super().__init__()
        self.call = call
        self.values = dict(values)
        self.uniforms = dict(uniforms)
        self.unused: set[str] = set()

    def __enter__(self) -> Any:
        self.unused = set(self.values) | set(self.uniforms)
        return super().__enter__()

    def __exit__(self, *exception: Any) -> Any:
        result = super().__exit__(*exception)
        if exception[0] is None and self.unused:
            raise ValueError(
                f"{self.call}: no site is called {', '.join(map(repr, sorted(self.unused)))}; "
                "the names are those of pyro.sample statements, such as 'h' or "
                "'hidden.0.weight'. Force draws around a call that runs the guide."
            )
        return result

    def _pyro_sample(self, msg: Any) -> None:
        name = msg["name"]
        if name not in self.values and name not in self.uniforms:
            return
        self.unused.discard(name)
        if msg["is_observed"] or msg["value"] is not None:
            return
        fn = msg["fn"]
        if not isinstance(fn, SignDistribution):
            raise TypeError(
                f'{self.call}: site "{name}" has law {type(fn).__name__}; only ±1 sites '
                "(SignBernoulli, NoisySign) are forced. Use pyro.condition for other sites."
            )
        given = self.values.get(name, self.uniforms.get(name))
        assert given is not None
        given = self._at_shape(name, given, fn, msg["cond_indep_stack"])
        # a uniform below every probability gives +1, one above every probability gives -1; drawing
        # by it, rather than taking the value, keeps what handlers know of the law's parents
        uniform = given if name in self.uniforms else torch.where(given > 0, -1.0, 2.0)
        uniform = uniform.to(given.dtype)
        value = fn.remembered_by(fn.draw(uniform)) if fn.rule is None else fn.rule(fn, uniform)
        if name in self.values and not bool((value.detach() == given).all()):
            raise ValueError(
                f'{self.call}: the rule of site "{name}" needs more than its value; give its '
                f"uniforms, {self.call}({{}}, uniforms={{{name!r}: ...}})."
            )
        msg["value"] = value

    def _pyro_auxiliary(self, msg: Any) -> None:
        if msg["name"] in self.values and msg["value"] is None:
            self.unused.discard(msg["name"])
            msg["value"] = self.values[msg["name"]]

    def _at_shape(
        self, name: str, given: Tensor, fn: SignDistribution, stack: tuple[Any, ...]
    ) -> Tensor:
        """The given tensor broadcast to the draw: the site's own shape, or one per particle."""
        full = fn.shape()
        particles = [f for f in stack if f.name == PARTICLE_PLATE and f.vectorized]
        single = full[1:] if particles else full
        batch_dims = len(single) - fn.event_dim
        while batch_dims and single[0] == 1:
            single, batch_dims = single[1:], batch_dims - 1
        ones = len(full) - len(single) - len(particles)
        allowed = [single, full[:1] + single, full] if particles else [single, full]
        if given.shape not in allowed:
            shapes = " or ".join(str(tuple(s)) for s in dict.fromkeys(allowed))
            raise ValueError(
                f'{self.call}: site "{name}" was given shape {tuple(given.shape)}; its draws have '
                f"shape {shapes}."
            )
        if name in self.values:
            check_signs(given, f'{self.call}, site "{name}"')
        if given.shape == single:
            return given.to(fn.parameter.dtype).expand(full)
        return given.to(fn.parameter.dtype).reshape(full[:1] + (1,) * ones + single).reshape(full)


def force_draws(
    values: Mapping[str, Tensor], uniforms: Mapping[str, Tensor] | None = None
) -> ForceMessenger:
    r"""Give ±1 sites their draws; everything else of their estimators' rules stays.

    At each named site that is still undrawn (observed and replayed sites are left alone) a path
    estimator returns the given value with its backward rule, a score estimator scores it, and
    stock ELBOs take it.  Paths are not weighted: a sum over all of them is an expectation once each
    is multiplied by its probability.

    Args:
        values: ±1 values by site name, of the site's shape, or with one more leading dim, the
            particles, under ``num_particles=P, vectorize_particles=True``.
        uniforms: a site's uniforms instead, for rules that need more than the value.

    Raises:
        ValueError: a name that no site has, a wrong shape, or a value that is not ±1.

    Example:
        >>> import torch, bayes_sbn as sbn
        >>> forced = sbn.force_draws({"h": torch.ones(4, 3)})
        >>> # with forced: elbo.differentiable_loss(model, guide, x, y).backward()
    """
    uniforms = {} if uniforms is None else uniforms
    for name, given in {**values, **uniforms}.items():
        if not isinstance(given, Tensor):
            raise TypeError(
                f'force_draws: site "{name}" was given a {type(given).__name__}; write '
                f"torch.as_tensor({name})."
            )
    both = sorted(set(values) & set(uniforms))
    if both:
        raise ValueError(
            f"force_draws: {', '.join(map(repr, both))} has values and uniforms; give one of them."
        )
    return ForceMessenger(values, uniforms)


class RerunMessenger(ForceMessenger):
    """Repeats a run: given values at some sites, recorded uniforms or values at all others.

    Args:
        values: ±1 values by site name.
        uniforms: of the other ±1 sites.
        recorded: values of all other sites, the rows that plates drew included.
    """

    def __init__(
        self,
        values: Mapping[str, Tensor],
        uniforms: Mapping[str, Tensor],
        recorded: Mapping[str, Any],
    ) -> None:
        super().__init__(values, uniforms, call="rerun")
        self.recorded = recorded

    def _pyro_sample(self, msg: Any) -> None:
        super()._pyro_sample(msg)
        if msg["value"] is None and msg["name"] in self.recorded:
            msg["value"] = self.recorded[msg["name"]]

    def _pyro_auxiliary(self, msg: Any) -> None:
        super()._pyro_auxiliary(msg)
        if msg["value"] is None and msg["name"] in self.recorded:
            msg["value"] = self.recorded[msg["name"]]
