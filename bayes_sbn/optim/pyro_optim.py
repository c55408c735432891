r"""The Pyro optimiser that steps ±1 weights by mirror descent and real parameters as told.

Pyro's own ``PyroOptim`` names the state of a parameter by the global parameter store, which local
parameters are not in.  This one keys optimisers weakly by the tensor and names their state by
module path, as registered in :mod:`bayes_sbn.dual`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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

    def __call__(self, params: Iterable[Tensor], *args: Any, **kwargs: Any) -> None:
        """One step of every parameter that was captured."""
        for parameter in params:
            if parameter not in self.optim_objs:
                self.optim_objs[parameter] = self._make(parameter)
            if self.pt_clip_args:
                self._clip_grad([parameter], **self.pt_clip_args)
            self.optim_objs[parameter].step(*args, **kwargs)
            # used up: the next backward pass writes a fresh one instead of adding to zeros
            parameter.grad = None

    def _make(self, parameter: Tensor) -> torch.optim.Optimizer:
        leaf = leaf_of(parameter)
        made: torch.optim.Optimizer
        if leaf is not None and leaf.is_dual:
            made = MirrorDescentRule([parameter], **self.dual_args)
        else:
            made = getattr(torch.optim, self.real_name)([parameter], **self.real_args)
        waiting = self._state_waiting_to_be_consumed
        if waiting:
            state = waiting.pop(_name_of(parameter), None)
            if state is not None:
                made.load_state_dict(state)
        return made

    def get_state(self) -> dict[str, Any]:
        """The optimisers' states by module path; also those that wait for their parameter."""
        state = dict(self._state_waiting_to_be_consumed)
        for parameter, optimizer in self.optim_objs.items():
            name = _name_of(parameter)
            if name in state:
                raise ValueError(
                    f'MirrorDescent.get_state: two parameters are called "{name}", so their states '
                    "cannot be told apart in a file. Use one optimiser per model."
                )
            state[name] = optimizer.state_dict()
        return state

    def set_state(self, state_dict: Mapping[str, Any]) -> None:
        """Load states by module path, now or when the parameter first steps."""
        waiting = dict(state_dict)
        for parameter, optimizer in self.optim_objs.items():
            state = waiting.pop(_name_of(parameter), None)
            if state is not None:
                optimizer.load_state_dict(state)
        self._state_waiting_to_be_consumed = waiting

    def scale_lr(self, factor: float) -> None:
        """Set every step size to ``factor`` times the one given at construction."""
        for optimizer in self.optim_objs.values():
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", group["lr"])
                group["lr"] = factor * group["initial_lr"]


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
