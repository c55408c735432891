"""How speed is measured: interleaved runs, medians, one process, and what machine it was.

Ratios of medians are what is reported.  All candidates take turns in every round, so that a machine
that slows down slows all of them.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def medians(
    candidates: Mapping[str, Callable[[], object]], *, rounds: int, seconds: float
) -> dict[str, float]:
    """The median time in seconds of each candidate; a first round warms up and is not counted.

    Args:
        candidates: what is run, by name.
        rounds: how often at most.
        seconds: after this time no new round is begun, but one has been made.
    """
    for run in candidates.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in candidates}
    end = time.perf_counter() + seconds
    for number in range(rounds):
        if number and time.perf_counter() > end:
            break
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


class LiveTensors(TorchDispatchMode):
    """Sums the bytes of all tensors made inside that are still alive, after every operation.

    Buffers that one operation makes and frees inside itself are not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        old = {leaf.untyped_storage().data_ptr() for leaf in tensors((args, kwargs))}
        for leaf in tensors(result):
            storage = leaf.untyped_storage()
            if storage.data_ptr() not in old:
                self._alive[storage.data_ptr()] = StorageWeakRef(storage), storage.nbytes()
        self._alive = {k: v for k, v in self._alive.items() if not v[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return result


def tensors(tree: Any) -> list[torch.Tensor]:
    """The tensors of nested lists and dicts."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def peak_bytes(run: Callable[[], object]) -> int:
    """The most memory that tensors made by the run take at one time."""
    run()
    with LiveTensors() as live:
        run()
    return live.peak


def machine() -> dict[str, Any]:
    """What the numbers were measured on, and how busy it was."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    except OSError:
        pass  # not Linux: the name that Python knows
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    return {
        **gpu,
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": None if load is None else round(load[0], 2),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def last_line(study: str, metrics: Mapping[str, float], targets: Mapping[str, float]) -> str:
    """The one JSON object that a study ends with; a metric without a target has null."""
    return json.dumps(
        {
            "study": study,
            "metric": list(metrics),
            "value": [round(value, 4) for value in metrics.values()],
            "target": [targets.get(name) for name in metrics],
            "machine": machine(),
        },
        ensure_ascii=False,
    )
