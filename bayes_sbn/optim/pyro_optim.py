r"""The Pyro optimiser that steps ±1 weights by mirror descent and real parameters as told.

Pyro's own ``PyroOptim`` names the state of a parameter by the global parameter store, which local
parameters are not in.  This one keys optimisers weakly by the tensor and names their state by
module path, as registered in :mod:`bayes_sbn.dual`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro.optim import PyroOptim
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from bayes_sbn.dual import leaf_of
from bayes_sbn.optim.mirror_descent import MirrorDescent as MirrorDescentRule

DEFAULT_REAL = ("Adam", {"lr": 0.01})
"""How scales, biases and other real parameters move unless told otherwise."""


class MirrorDescent(PyroOptim):
    """Mirror descent for ±1 weights, an ordinary optimiser for the rest; for Pyro's SVI.

    Args:
        optim_args: options of :class:`bayes_sbn.optim.mirror_descent.MirrorDescent` (``lr``,
            ``adaptive``, ``betas``, ``eps``, ``clamp``), and ``real``: the name of an optimiser in
            ``torch.optim`` with its options, default ``("Adam", {"lr": 0.01})``.
        clip_args: ``clip_norm`` or ``clip_value``, as in ``pyro.optim``.

    Example:
        >>> import bayes_sbn as sbn
        >>> optim = sbn.optim.MirrorDescent({"lr": 0.05, "real": ("Adam", {"lr": 0.01})})
    """

    def __init__(
        self, optim_args: Mapping[str, Any], clip_args: Mapping[str, float] | None = None
    ) -> None:
        if not isinstance(optim_args, Mapping):
            raise TypeError(
                f"MirrorDescent({optim_args!r}): the options are a dict, as in "
                'MirrorDescent({"lr": 0.05, "real": ("Adam", {"lr": 0.01})}).'
            )
        dual = dict(optim_args)
        real = dual.pop("real", DEFAULT_REAL)
        self.dual_args: dict[str, Any] = dual
        self.real_name, self.real_args = _check_real(real)
        _check_options(dual)
        super().__init__(MirrorDescentRule, dual, None if clip_args is None else dict(clip_args))
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
            leaf = leaf_of(parameter)
            (dual if leaf is not None and leaf.is_dual else real).append(parameter)
        for members, is_dual in ((dual, True), (real, False)):
            if not members:
                continue
            rule = self._rule(members, is_dual)
            for parameter in members:
                self.optim_objs[parameter] = rule
            waiting = self._state_waiting_to_be_consumed
            for parameter in members if waiting else ():
                state = waiting.pop(_name_of(parameter), None)
                if state is not None:
                    self._load(parameter, state)
            if self._lr_factor is not None:
                _scale(rule, self._lr_factor)

    def _rule(self, members: list[Tensor], is_dual: bool) -> torch.optim.Optimizer:
        if is_dual:
            return MirrorDescentRule(members, **self.dual_args)
        made: torch.optim.Optimizer = getattr(torch.optim, self.real_name)(
            members, **self.real_args
        )
        return made

    def _load(self, parameter: Tensor, state: Mapping[str, Any]) -> None:
        """Give one member of a rule the state of a rule for it alone."""
        rule = self.optim_objs[parameter]
        alone = self._rule([parameter], isinstance(rule, MirrorDescentRule))
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
            name = _name_of(parameter)
            if name in state:
                raise ValueError(
                    f'MirrorDescent.get_state: two parameters are called "{name}", so their states '
                    "cannot be told apart in a file. Use one optimiser per model."
                )
            options = {k: v for k, v in rule.param_groups[0].items() if k != "params"}
            own = {0: dict(rule.state[parameter])} if parameter in rule.state else {}
            state[name] = {"state": own, "param_groups": [{**options, "params": [0]}]}
        return state

    def set_state(self, state_dict: Mapping[str, Any]) -> None:
        """Load states by module path, now or when the parameter first steps."""
        waiting = dict(state_dict)
        for parameter in self.optim_objs:
            state = waiting.pop(_name_of(parameter), None)
            if state is not None:
                self._load(parameter, state)
        self._state_waiting_to_be_consumed = waiting

    def scale_lr(self, factor: float) -> None:
        """Set every step size to ``factor`` times the one given at construction.

        It holds for parameters that are yet to be met, too, and whatever state waits for them.
        """
        self._lr_factor = factor
        for rule in self.optim_objs.values():
            _scale(rule, factor)


def _scale(rule: torch.optim.Optimizer, factor: float) -> None:
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


def _name_of(parameter: Tensor) -> str:
    leaf = leaf_of(parameter)
    if leaf is not None:
        return leaf.path
    name = pyro.get_param_store()._param_to_name.get(parameter)
    if name is None:
        raise ValueError(
            f"MirrorDescent: a parameter of shape {tuple(parameter.shape)} has no name by which "
            "its state could be saved. Use bayes_sbn.TraceEstimator_ELBO, which registers the "
            "names of all parameters it meets."
        )
    return str(name)


def _check_real(real: Any) -> tuple[str, dict[str, Any]]:
    usage = 'write "real": ("Adam", {"lr": 0.01})'
    if not (isinstance(real, (tuple, list)) and len(real) == 2 and isinstance(real[1], Mapping)):
        raise TypeError(f'MirrorDescent({{"real": {real!r}}}): {usage}.')
    name, options = real
    known = sorted(
        key
        for key, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer)
    )
    if name not in known:
        raise ValueError(
            f'MirrorDescent({{"real": ({name!r}, ...)}}): torch.optim has no such optimiser; it '
            f"has {', '.join(known)}."
        )
    probe = torch.nn.Parameter(torch.zeros(1))
    try:
        getattr(torch.optim, name)([probe], **options)
    except (TypeError, ValueError) as error:
        raise type(error)(f'MirrorDescent({{"real": ({name!r}, {options})}}): {error}') from None
    return name, dict(options)


def _check_options(options: dict[str, Any]) -> None:
    try:
        MirrorDescentRule([torch.nn.Parameter(torch.zeros(1))], **options)
    except TypeError as error:
        raise TypeError(
            f"MirrorDescent({options}): {error}. The options are lr, adaptive, betas, eps, clamp, "
            "and real for the parameters that are not ±1 weights."
        ) from None
