r"""What Pyro optimisers of ±1 weights share: a rule for these, an optimiser of torch for the rest.

Pyro's own ``PyroOptim`` names the state of a parameter by the global parameter store, which local
parameters are not in.  This one keys optimisers weakly by the tensor and names their state by
module path, as registered in :mod:`bayes_sbn.dual`.  A subclass names its rule, a torch optimiser.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import pyro
import torch
from pyro.optim import PyroOptim
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from bayes_sbn.dual import leaf_of
from bayes_sbn.optim.named_optimizer import checked_name

DEFAULT_REAL = ("Adam", {"lr": 0.01})
"""How scales, biases and other real parameters move unless told otherwise."""


class SignOptim(PyroOptim):
    """A rule for ±1 weights, an ordinary optimiser for the rest; for Pyro's SVI.

    A subclass states ``rule``, a torch optimiser of dual leaves, and has all else from here.

    Args:
        optim_args: the options of the rule, and ``real``: the name of an optimiser in
            ``torch.optim`` with its options, default ``("Adam", {"lr": 0.01})``.
        clip_args: ``clip_norm`` or ``clip_value``, as in ``pyro.optim``.

    Example:
        >>> import torch
        >>> import bayes_sbn as sbn
        >>> class SignDescent(sbn.optim.SignOptim):
        ...     rule = torch.optim.SGD
        >>> optim = SignDescent({"lr": 0.05, "real": ("Adam", {"lr": 0.01})})
    """

    rule: ClassVar[type[torch.optim.Optimizer]]
    """The torch optimiser of the ±1 weights: it is given their leaves and the options."""

    def __init__(
        self, optim_args: Mapping[str, Any], clip_args: Mapping[str, float] | None = None
    ) -> None:
        name = type(self).__name__
        if not hasattr(type(self), "rule"):
            raise TypeError(
                f"{name}: it has no rule for ±1 weights. Write sbn.optim.MirrorDescent, or state "
                "rule = ... in a subclass of SignOptim: a torch optimiser of their leaves."
            )
        if not isinstance(optim_args, Mapping):
            raise TypeError(
                f"{name}({optim_args!r}): the options are a dict, as in "
                f'{name}({{"lr": 0.05, "real": ("Adam", {{"lr": 0.01}})}}).'
            )
        dual = dict(optim_args)
        real = dual.pop("real", DEFAULT_REAL)
        self.dual_args: dict[str, Any] = dual
        self.real_name, self.real_args = _check_real(name, real)
        _check_options(name, self.rule, dual)
        super().__init__(self.rule, dual, None if clip_args is None else dict(clip_args))
        self.optim_objs = WeakIdKeyDictionary()
        self._lr_factor: float | None = None

    def __call__(self, params: Iterable[Tensor], *args: Any, **kwargs: Any) -> None:
        """One step of every parameter that was captured, whose gradients it uses up."""
        captured = list(params)
        self._make_for([p for p in captured if p not in self.optim_objs])
        if self.pt_clip_args:
            for parameter in captured:
                self._clip_grad([parameter], **self.pt_clip_args)
        rules = {id(rule): rule for rule in (self.optim_objs[p] for p in captured)}
        present = {id(p) for p in captured}
        for rule in rules.values():
            with _only(rule, present):
                rule.step(*args, **kwargs)
        for parameter in captured:
            # used up: the next backward pass writes a fresh one instead of adding to zeros
            parameter.grad = None

    def _make_for(self, parameters: Iterable[Tensor]) -> None:
        """One rule for all new ±1 weights, one for all new real parameters: a step costs less."""
        dual: list[Tensor] = []
        real: list[Tensor] = []
        for parameter in parameters:
            (dual if _is_dual(parameter) else real).append(parameter)
        for members, is_dual in ((dual, True), (real, False)):
            if not members:
                continue
            rule = self._rule(members, is_dual)
            for parameter in members:
                self.optim_objs[parameter] = rule
            waiting = self._state_waiting_to_be_consumed
            for parameter in members if waiting else ():
                state = waiting.pop(self._name_of(parameter), None)
                if state is not None:
                    self._load(parameter, state)
            if self._lr_factor is not None:
                _scale(rule, self._lr_factor)

    def _rule(self, members: list[Tensor], is_dual: bool) -> torch.optim.Optimizer:
        if is_dual:
            return self.rule(members, **self.dual_args)
        made: torch.optim.Optimizer = getattr(torch.optim, self.real_name)(
            members, **self.real_args
        )
        return made

    def _load(self, parameter: Tensor, state: Mapping[str, Any]) -> None:
        """Give one member of a rule the state of a rule for it alone."""
        rule = self.optim_objs[parameter]
        alone = self._rule([parameter], _is_dual(parameter))
        alone.load_state_dict(dict(state))
        rule.state.pop(parameter, None)
        if parameter in alone.state:
            rule.state[parameter] = alone.state[parameter]
        options = {k: v for k, v in alone.param_groups[0].items() if k != "params"}
        rule.param_groups[0].update(options)

    def get_state(self) -> dict[str, Any]:
        """The optimisers' states by module path; also those that wait for their parameter."""
        state = dict(self._state_waiting_to_be_consumed)
        for parameter, rule in self.optim_objs.items():
            name = self._name_of(parameter)
            if name in state:
                raise ValueError(
                    f'{type(self).__name__}.get_state: two parameters are called "{name}", so '
                    "their states cannot be told apart in a file. Use one optimiser per model."
                )
            options = {k: v for k, v in rule.param_groups[0].items() if k != "params"}
            own = {0: dict(rule.state[parameter])} if parameter in rule.state else {}
            state[name] = {"state": own, "param_groups": [{**options, "params": [0]}]}
        return state

    def set_state(self, state_dict: Mapping[str, Any]) -> None:
        """Load states by module path, now or when the parameter first steps."""
        waiting = dict(state_dict)
        for parameter in self.optim_objs:
            state = waiting.pop(self._name_of(parameter), None)
            if state is not None:
                self._load(parameter, state)
        self._state_waiting_to_be_consumed = waiting

    def _name_of(self, parameter: Tensor) -> str:
        leaf = leaf_of(parameter)
        if leaf is not None:
            return leaf.path
        name = pyro.get_param_store()._param_to_name.get(parameter)
        if name is None:
            raise ValueError(
                f"{type(self).__name__}: a parameter of shape {tuple(parameter.shape)} has no name "
                "by which its state could be saved. Use bayes_sbn.TraceEstimator_ELBO, which "
                "registers the names of all parameters it meets."
            )
        return str(name)

    def scale_lr(self, factor: float) -> None:
        """Set every step size to ``factor`` times the one given at construction.

        It holds for parameters that are yet to be met, too, and whatever state waits for them.  A
        schedule calls it once a step or epoch, as in ``optim.scale_lr(0.1 ** (step / num_steps))``.
        """
        if not (math.isfinite(factor) and factor >= 0):
            raise ValueError(
                f"{type(self).__name__}.scale_lr({factor}): a factor of step sizes is a number of "
                "at least 0."
            )
        self._lr_factor = factor
        for rule in self.optim_objs.values():
            _scale(rule, factor)


def _scale(rule: torch.optim.Optimizer, factor: float) -> None:
    """Set the step sizes of a rule to a multiple of its first ones."""
    for group in rule.param_groups:
        group.setdefault("initial_lr", group["lr"])
        group["lr"] = factor * group["initial_lr"]


@contextmanager
def _only(rule: torch.optim.Optimizer, present: set[int]) -> Iterator[None]:
    """Let a rule step only the parameters that are present: it leaves those without gradient."""
    members = [p for group in rule.param_groups for p in group["params"]]
    absent = [(p, p.grad) for p in members if id(p) not in present]
    for parameter, _ in absent:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in absent:
            parameter.grad = gradient


def _is_dual(parameter: Tensor) -> bool:
    """Whether a parameter is a dual leaf, which the rule for ±1 weights steps."""
    leaf = leaf_of(parameter)
    return leaf is not None and leaf.is_dual


def _check_real(call: str, real: Any) -> tuple[str, dict[str, Any]]:
    name, options = checked_name(call, "real", real)
    probe = torch.nn.Parameter(torch.zeros(1))
    try:
        getattr(torch.optim, name)([probe], **options)
    except (TypeError, ValueError) as error:
        raise type(error)(f'{call}({{"real": ({name!r}, {options})}}): {error}') from None
    return name, options


def _check_options(call: str, rule: type[torch.optim.Optimizer], options: dict[str, Any]) -> None:
    try:
        rule([torch.nn.Parameter(torch.zeros(1))], **options)
    except TypeError as error:
        known = list(inspect.signature(rule).parameters)[1:]  # the first are the leaves
        raise TypeError(
            f"{call}({options}): {error}. The options are {', '.join(known)}, and real for the "
            "parameters that are not ±1 weights."
        ) from None
