"""A network and a batch as an audit runs them: gradients without a trace of them left behind."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro.poutine.messenger import Messenger
from pyro.util import get_rng_state, set_rng_state
from torch import Tensor

from bayes_sbn.elbo import TraceEstimator_ELBO
from bayes_sbn.estimators import Estimator, ScoreFunction
from bayes_sbn.gradient_audit_exact import CountMessenger, Step


class Run:
    """The network, its batch, and the parameters to differentiate in."""

    def __init__(
        self, model: Any, guide: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.model, self.guide, self.args, self.kwargs = model, guide, args, kwargs
        self.parameters: dict[str, Tensor] = {}
        self.num_bits = 0
        self.plate_nesting = 0
        self.others: list[str] = []

    def find_parameters(self, given: Mapping[str, Tensor] | None) -> None:
        """The given ones, or those of the modules and of ``pyro.param`` statements."""
        found = dict(given) if given is not None else self._all_parameters()
        self.parameters = {name: value for name, value in found.items() if value.requires_grad}
        if not self.parameters:
            raise ValueError(
                "audit: model and guide have no parameters that require gradients. Give those to "
                'differentiate in, audit(..., parameters={"bias": bias}).'
            )

    def _all_parameters(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for module in (self.model, self.guide):
            if isinstance(module, torch.nn.Module):
                for path, parameter in module.named_parameters():
                    found[path.removesuffix("_unconstrained")] = parameter
        with ParameterMessenger() as statements:
            self._execute()
        known = {id(value) for value in found.values()}
        for name, value in statements.found.items():
            if id(value) not in known:
                found[name] = value
        return found

    def find_bits(self) -> None:
        """Count the latent bits of one step, and what else is random."""
        with CountMessenger() as counted:
            self._execute()
        self.num_bits, self.others = counted.bits, counted.others
        self.plate_nesting = counted.plate_nesting

    def _execute(self) -> None:
        """One pass as an ELBO makes it, each latent site drawn once."""
        elbo = TraceEstimator_ELBO(ScoreFunction(), weight_kl=False)
        elbo.loss(self.model, self.guide, *self.args, **self.kwargs)

    def step(
        self, elbo: TraceEstimator_ELBO, *, own_estimators: bool = True, is_apart: bool = False
    ) -> Step:
        """One estimate of the gradient of each block, leaving ``grad`` alone.

        Args:
            elbo: whose gradient it is; its estimator may be changed by the steps.
            own_estimators: whether sites that name their estimator keep it.
            is_apart: whether each particle's gradient is given, and not their mean.
        """
        blocks = list(self.parameters.values())
        name = elbo.estimator.name or type(elbo.estimator).__name__
        guide = OwnEstimators(is_hidden=not own_estimators)(self.guide)

        many = elbo.num_particles
        unit = torch.eye(many)

        def estimate() -> list[Tensor]:
            arguments = (self.model, guide, *self.args)
            if is_apart:
                losses = elbo.particle_losses(*arguments, **self.kwargs)
                found = torch.autograd.grad(
                    losses, blocks, unit.to(losses), allow_unused=True, is_grads_batched=True
                )
            else:
                loss = elbo.differentiable_loss(*arguments, **self.kwargs)
                found = torch.autograd.grad(loss, blocks, allow_unused=True)
            lead = (many,) if is_apart else ()
            gradient = [
                block.new_zeros(lead + block.shape) if value is None else value
                for block, value in zip(blocks, found, strict=True)
            ]
            for path, value in zip(self.parameters, gradient, strict=True):
                if not bool(torch.isfinite(value).all()):
                    raise RuntimeError(
                        f'audit: the gradient of estimator "{name}" in "{path}" has infinite or '
                        "NaN entries. Leave it out, or audit it on parameters where it is finite."
                    )
            return gradient

        return estimate

    def devices(self) -> list[torch.device]:
        """The CUDA devices of the parameters."""
        used = {value.device for value in self.parameters.values()}
        return sorted((d for d in used if d.type == "cuda"), key=str)

    def seed(self, text: str) -> None:
        """Seed the generators that draws come from."""
        number = zlib.crc32(text.encode())
        torch.default_generator.manual_seed(number)
        for device in self.devices():
            with torch.cuda.device(device):
                torch.cuda.manual_seed(number)


class ParameterMessenger(Messenger):
    """Collects the unconstrained leaves of ``pyro.param`` statements."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, Tensor] = {}

    def _pyro_post_param(self, msg: Any) -> None:
        value = msg["value"]
        leaf = value.unconstrained() if hasattr(value, "unconstrained") else value
        if isinstance(leaf, Tensor) and leaf.is_leaf:
            self.found.setdefault(msg["name"], leaf)


class OwnEstimators(Messenger):
    """Goes around a guide: sites' own ``infer={"estimator": ...}`` are copied, or ignored.

    Args:
        is_hidden: whether they are ignored; else each is replaced by a copy, so that its state
            stays what it was.
    """

    def __init__(self, *, is_hidden: bool = False) -> None:
        super().__init__()
        self.is_hidden = is_hidden
        self.copies: dict[int, Estimator] = {}

    def _pyro_sample(self, msg: Any) -> None:
        own = msg["infer"].get("estimator")
        if own is None:
            return
        rest = {key: value for key, value in msg["infer"].items() if key != "estimator"}
        if not self.is_hidden:
            if isinstance(own, Estimator):
                own = self.copies.setdefault(id(own), copy.deepcopy(own))
            rest["estimator"] = own
        msg["infer"] = rest


@contextmanager
def nothing_changed(model: Any, guide: Any) -> Iterator[None]:
    """Put back generators, buffers and the parameter store, also after an error."""
    modules = [
        part
        for module in (model, guide)
        if isinstance(module, torch.nn.Module)
        for part in module.modules()
    ]
    buffers = [
        (part, dict(part._buffers), {k: None if b is None else b.clone() for k, b in items})
        for part in modules
        if (items := list(part._buffers.items()))
    ]
    store = pyro.get_param_store()
    known = set(store.keys())
    state = get_rng_state()
    on_devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        set_rng_state(state)
        if on_devices is not None:
            torch.cuda.set_rng_state_all(on_devices)
        for name in set(store.keys()) - known:
            del store[name]
        with torch.no_grad():
            for part, tensors, values in buffers:
                part._buffers.clear()
                part._buffers.update(tensors)
                for name, value in values.items():
                    buffer = tensors[name]
                    if buffer is not None and value is not None:
                        buffer.copy_(value)
