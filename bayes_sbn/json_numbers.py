"""Numbers that JSON lacks, as the words "NaN", "Infinity" and "-Infinity"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def in_json(value: Any) -> Any:
    """Mappings, sequences, arrays and numbers as what JSON holds; all else as it is.

    Args:
        value: what is to be written.

    Example:
        >>> import numpy as np
        >>> in_json({"value": float("nan"), "ends": (np.float64(0.5), -math.inf)})
        {'value': 'NaN', 'ends': [0.5, '-Infinity']}
    """
    if isinstance(value, Mapping):
        return {str(key): in_json(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [in_json(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
