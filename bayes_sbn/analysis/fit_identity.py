r"""Which function fits: its name, and a digest of its code and of the values that it holds.

A folder of folds must not be gone on from by another fit.  Read are, of a function,

* its compiled code, without file names, line numbers and comments;
* its defaults, what it holds by closure, and the arguments of a ``functools.partial``;
* the globals that it names: values, and functions and classes of its own module in the same way.

Of values numbers, words, containers of them, arrays, and the ``state_dict`` and the attributes of a
torch module count by content, and objects of other modules by their type and by what they print,
unless that is their address.  What functions of other modules do is not read, so
``kfold(..., name=...)`` can say what a digest cannot.  Compiled code is another one under another
version of Python.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import to_numpy

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))
_WITHOUT_CYCLES = (tuple, frozenset, types.CodeType, np.ndarray, np.generic)
"""Of these equal ones may be one object or several, as the compiler pleases."""


def identity_of(fit_fn: Any, name: str | None) -> dict[str, str]:
    """What a folder keeps of the function whose fits it has.

    Args:
        fit_fn: the function, or what can be called like one.
        name: what the user calls it, which then says all; None to read the function.
    """
    if name is not None:
        return {"fit_fn": str(name), "fit_code": "named"}
    digest = _Digest(_home(fit_fn))
    digest.add(fit_fn)
    return {"fit_fn": _qualified(_bare(fit_fn)), "fit_code": digest.hash.hexdigest()}


def _bare(thing: Any) -> Any:
    """The function inside a partial or a method, the type of an object."""
    while isinstance(thing, functools.partial):
        thing = thing.func
    thing = getattr(thing, "__func__", thing)
    return thing if hasattr(thing, "__qualname__") else type(thing)


def _home(thing: Any) -> str:
    return str(getattr(_bare(thing), "__module__", ""))


def _qualified(thing: Any) -> str:
    return f"{getattr(thing, '__module__', '')}.{thing.__qualname__}"


class _Digest:
    """What a value is, fed to a hash; functions and classes of one module are read."""

    def __init__(self, home: str) -> None:
        self.home, self.hash = home, hashlib.sha256()
        self.seen: dict[int, Any] = {}

    def say(self, *words: str) -> None:
        for word in words:
            self.hash.update(f"{len(word)} {word}".encode())

    def add(self, value: Any) -> None:
        """One value, whatever it is."""
        self.say(type(value).__name__)
        if isinstance(value, _PLAIN):
            self.say(repr(value))
        elif id(value) in self.seen:
            self.say("again")
        else:
            if not isinstance(value, _WITHOUT_CYCLES):
                self.seen[id(value)] = value  # kept, so that no other one has its id
            self._add_large(value)

    def _add_large(self, value: Any) -> None:
        if isinstance(value, types.CodeType):
            self._code(value)
        elif isinstance(value, tuple | list):
            self._all(value)
        elif isinstance(value, set | frozenset):
            self._all(sorted(value, key=repr))
        elif isinstance(value, Mapping):
            self._all([part for pair in value.items() for part in pair])
        elif isinstance(value, functools.partial):
            self._all([value.func, value.args, value.keywords])
        elif isinstance(value, types.MethodType):
            self._all([value.__func__, value.__self__])
        elif isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, types.ModuleType):
            self.say(value.__name__)
        elif isinstance(value, type):
            self._type(value)
        elif hasattr(value, "named_modules"):
            self._module(value)
        elif isinstance(value, np.ndarray | np.generic) or hasattr(value, "detach"):
            self._array(to_numpy(value))
        else:
            self._object(value)

    def _all(self, values: Any) -> None:
        self.say(str(len(values)))
        for value in values:
            self.add(value)

    def _module(self, module: Any) -> None:
        self._all([_qualified(type(module)), dict(module.state_dict())])
        for path, part in module.named_modules():
            for name, value in sorted(vars(part).items()):
                if not name.startswith("_") and name != "training":
                    self.say(path, name)
                    self.add(value)

    def _array(self, array: npt.NDArray[np.generic]) -> None:
        self.say(str(array.shape), array.dtype.str)
        if array.dtype.hasobject:
            self._all(array.ravel().tolist())
        else:
            self.hash.update(np.ascontiguousarray(array).tobytes())

    def _code(self, code: types.CodeType) -> None:
        self.hash.update(code.co_code)
        self._all([code.co_consts, code.co_names, code.co_varnames, code.co_freevars])

    def _function(self, function: types.FunctionType) -> None:
        self.say(_qualified(function))
        if function.__module__ != self.home:
            return
        self._all([function.__code__, function.__defaults__, function.__kwdefaults__])
        for cell in function.__closure__ or ():
            self.add(_content(cell))
        for name in sorted(_names(function.__code__) & set(function.__globals__)):
            self.say(name)
            self.add(function.__globals__[name])

    def _type(self, kind: type) -> None:
        self.say(_qualified(kind))
        if kind.__module__ == self.home:
            for name, value in sorted(vars(kind).items()):
                is_plain = isinstance(value, _PLAIN) and not name.startswith("__")
                if is_plain or isinstance(value, types.FunctionType):
                    self.say(name)
                    self.add(value)

    def _object(self, value: Any) -> None:
        self.add(type(value))
        if type(value).__module__ == self.home and hasattr(value, "__dict__"):
            self.add(vars(value))
        elif hasattr(value, "__qualname__"):  # built in
            self.say(str(value.__qualname__))
        elif " at 0x" not in (printed := repr(value)):
            self.say(printed)


def _names(code: types.CodeType) -> set[str]:
    """The globals that code reads, and the functions inside it."""
    own = {
        str(each.argval)
        for each in dis.get_instructions(code)
        if each.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    inside = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return own.union(*map(_names, inside))


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet filled
        return None
