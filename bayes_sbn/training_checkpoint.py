r"""The checkpoint of a fit: its state at the end of an epoch, in a file that is whole or absent.

======  =====  ====================================================================
offset  bytes  content
======  =====  ====================================================================
0       8      magic, ``93 53 42 4E 46 49 54 0A``
8       32     SHA-256 of the rest
40             the tensors in the safetensors format, whose metadata have the format
               version and, as JSON, everything that is not a tensor
======  =====  ====================================================================

Nothing in a file is executed, and no part is a pickle.  Writing goes to a new file beside the
target, which is flushed to the disk and renamed: a kill leaves the old checkpoint or the new one.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors_torch
from torch import Tensor

from bayes_sbn.training_state import State
from bayes_sbn.whole_file import write_whole

MAGIC = b"\x93SBNFIT\n"
FORMAT_VERSION = "1"

_CHECKSUM_BYTES = 32
_DAMAGE = (
    SafetensorError,
    ValueError,  # also JSON and text decoding
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
)
"""What content that is not what it claims to be can raise."""
_START = len(MAGIC) + _CHECKSUM_BYTES


def write_checkpoint(path: Path, state: State) -> None:
    """Write a state, whole or not at all."""
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_encoded(state, "state", tensors), allow_nan=False)
    content = safetensors_torch.save(tensors, {"version": FORMAT_VERSION, "state": text})
    write_whole(path, MAGIC + hashlib.sha256(content).digest() + content)


def read_checkpoint(path: Path) -> State:
    """The state in a file.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no checkpoint, of another format version, truncated or damaged.
    """
    data = path.read_bytes()
    if data[: len(MAGIC)] != MAGIC:
        _refuse(path, "it is not a file that fit(checkpoint=...) wrote")
    content = data[_START:]
    if hashlib.sha256(content).digest() != data[len(MAGIC) : _START]:
        _refuse(path, "its checksum does not match: it is truncated or damaged")
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        version, text = (header["__metadata__"][key] for key in ("version", "state"))
        tensors = safetensors_torch.load(content)
        state = _decoded(json.loads(text), tensors) if version == FORMAT_VERSION else None
    except _DAMAGE as error:
        _refuse(path, f"its content cannot be read ({error})")
    if version != FORMAT_VERSION:
        _refuse(
            path,
            f"its format version is {version} and this package reads {FORMAT_VERSION}; resume "
            "with the version of bayes_sbn that wrote it",
        )
    if not isinstance(state, dict):
        _refuse(path, "it holds no state")
    return state


def _refuse(path: Path, reason: str) -> NoReturn:
    raise ValueError(
        f"fit(checkpoint={str(path.parent)!r}) cannot go on from {path.name}: {reason}. Delete it, "
        "or give another folder, to begin anew."
    )


def _encoded(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """A value as JSON; tensors are left in the dict under their path."""
    if isinstance(value, Tensor):
        tensors[path] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": path}
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, dict):
        return {
            "dict": [
                [_encoded(key, path, tensors), _encoded(item, f"{path}/{key}", tensors)]
                for key, item in value.items()
            ]
        }
    if isinstance(value, (list, tuple)):
        items = [_encoded(item, f"{path}/{k}", tensors) for k, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    raise TypeError(
        f"fit(checkpoint=...): {path} is a {type(value).__name__}, which a checkpoint cannot hold; "
        "it holds tensors, numbers, strings, None, and dicts, lists and tuples of them."
    )


def _decoded(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_decoded(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "float":
        return float(content)
    if kind == "tuple":
        return tuple(_decoded(item, tensors) for item in content)
    if kind == "dict":
        return {_decoded(key, tensors): _decoded(item, tensors) for key, item in content}
    raise TypeError(f"a value of the unknown kind {kind!r}")
