"""What the program prints: a result, as text or as one JSON object, and notes beside it.

Results go to standard output, and with ``--json`` nothing else does; notes go to standard error.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from bayes_sbn.json_numbers import in_json


def show(arguments: argparse.Namespace, text: str, contents: Mapping[str, Any]) -> None:
    """Print a result in the form that was asked for.

    Args:
        arguments: of the command, with ``json``.
        text: the result to be read.
        contents: the same as plain values.
    """
    print(to_json(contents) if arguments.json else text)


def note(arguments: argparse.Namespace, text: str) -> None:
    """A remark on standard error, unless ``--quiet``."""
    if not arguments.quiet:
        print(f"bayes-sbn: {text}", file=sys.stderr)


def to_json(contents: Mapping[str, Any]) -> str:
    """JSON text; numbers that JSON lacks become "NaN", "Infinity" and "-Infinity"."""
    return json.dumps(in_json(contents), indent=2, allow_nan=False, ensure_ascii=False)
