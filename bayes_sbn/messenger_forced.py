r"""Effect handlers that give ±1 sites their draws, whose estimators' rules stay.

:func:`force_draws` gives values or uniforms instead of chance.  With every joint draw x forced in
turn, expectations become finite sums,

    E[g] = sum_x q(x) g(x),

g being the loss or a gradient by an estimator's rule.  :class:`RerunMessenger` repeats a run with
other values at some of its sites.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from bayes_sbn.distributions import SignDistribution, check_signs
from bayes_sbn.messenger import PARTICLE_PLATE


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
