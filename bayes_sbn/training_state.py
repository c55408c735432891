"""The state of a fit between two epochs, as plain values: all that the next epoch depends on.

Parameters (unconstrained) and buffers, the optimiser, the ELBO with its estimators, and every
generator: torch's, also of CUDA devices, NumPy's and Python's global ones, and that of the order of
rows.  A state is made of dicts, lists, tuples, numbers, strings and tensors of its own, which later
steps do not change.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bayes_sbn.elbo import TraceEstimator_ELBO

State = dict[str, Any]


class TrainingState:
    """Takes the state of a fit, and puts it back.

    Args:
        model: may be a torch module; its buffers belong to the state.
        guide: the same.
        elbo: the loss.
        optim: a PyroOptim.
        parameters: by name, a dict that grows as parameters are met.
        order: the generator of the order of rows, or None.
    """

    def __init__(
        self,
        model: Any,
        guide: Any,
        elbo: TraceEstimator_ELBO,
        optim: Any,
        parameters: Mapping[str, Tensor],
        order: torch.Generator | None,
    ) -> None:
        self.modules = {"model": model, "guide": guide}
        self.elbo, self.optim = elbo, optim
        self.met = parameters
        self.order = order

    def parameters(self) -> dict[str, Tensor]:
        """Those of model and guide; the estimators' own are part of the ELBO's state."""
        own = {id(p) for p in self.elbo.estimators.parameters()}
        return {name: p for name, p in sorted(self.met.items()) if id(p) not in own}

    def described(self) -> State:
        """Shapes and types of parameters and buffers, as plain values."""
        network = self.network()
        return {
            kind: {name: [list(t.shape), str(t.dtype)] for name, t in tensors.items()}
            for kind, tensors in network.items()
        }

    def network(self) -> State:
        """Parameters and buffers alone."""
        buffers = {path: owner._buffers[name] for path, owner, name in self._buffers()}
        taken: State = copied({"parameters": self.parameters(), "buffers": buffers})
        return taken

    def all(self) -> State:
        """Everything."""
        rest = {
            "optim": self._optim(),
            "elbo": self.elbo.state_dict(),
            "generators": self._generators(),
        }
        return {"network": self.network(), **copied(rest)}

    def put_back_network(self, network: State) -> None:
        """Give parameters and buffers the values of a state; gradients are dropped."""
        unknown = sorted(set(network["parameters"]) - set(self.parameters()))
        if unknown:
            raise ValueError(
                f"fit(): the state to go on from has parameters {unknown}, which a first run of "
                "the model and the guide did not meet. Let every run meet all of them."
            )
        with torch.no_grad():
            for name, parameter in self.parameters().items():
                if name in network["parameters"]:
                    parameter.copy_(network["parameters"][name])
                parameter.grad = None
            for path, owner, name in self._buffers():
                buffer = owner._buffers[name]
                assert buffer is not None
                saved = network["buffers"][path].to(buffer.device)
                owner._buffers[name] = (
                    buffer.copy_(saved) if buffer.shape == saved.shape else saved.clone()
                )

    def put_back(self, state: State) -> None:
        """Continue from a state."""
        self.put_back_network(state["network"])
        if state["optim"] is not None:
            self.optim.set_state(copied(state["optim"]))
        self.elbo.load_state_dict(copied(state["elbo"]))
        self._put_back_generators(state["generators"])

    def _optim(self) -> State | None:
        """The optimiser's state by name; None from one that does not know local parameters."""
        state: State = self.optim.get_state()
        return None if None in state else state

    def _buffers(self) -> Iterator[tuple[str, torch.nn.Module, str]]:
        for which, module in self.modules.items():
            if not isinstance(module, torch.nn.Module):
                continue
            for path, owner in module.named_modules():
                for name, buffer in owner._buffers.items():
                    if buffer is not None:
                        yield ".".join(part for part in (which, path, name) if part), owner, name

    def _generators(self) -> State:
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        name, words, *rest = np.random.get_state()  # noqa: NPY002 - models may draw from it
        return {
            "torch": torch.get_rng_state(),
            "cuda": list(cuda),
            "numpy": (str(name), [int(w) for w in words], *rest),
            "python": random.getstate(),
            "order": None if self.order is None else self.order.get_state(),
        }

    def _put_back_generators(self, state: State) -> None:
        torch.set_rng_state(state["torch"])
        if state["cuda"]:
            torch.cuda.set_rng_state_all(state["cuda"])
        name, words, *rest = state["numpy"]
        np.random.set_state((name, np.array(words, np.uint32), *rest))  # noqa: NPY002
        random.setstate(state["python"])
        if self.order is not None and state["order"] is not None:
            self.order.set_state(state["order"])


def copied(value: Any) -> Any:
    """The same structure with tensors of its own, and names in one order."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in sorted(value.items(), key=_by_text)}
    if isinstance(value, (list, tuple)):
        return type(value)([copied(item) for item in value])
    return value


def _by_text(pair: tuple[Any, Any]) -> str:
    return str(pair[0])
