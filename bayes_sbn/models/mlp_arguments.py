"""What a fully connected network may be built of: its sizes, its real layers, its normalisation."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bayes_sbn.models.normalisation import NORMALISATIONS, RECALIBRATED


def check_sizes(in_features: int, hidden: Sequence[int], num_classes: int, num_data: int) -> None:
    """Raise if a size or a count is not allowed."""
    if isinstance(hidden, int):
        raise TypeError(
            f"BinaryMLP(hidden={hidden}): hidden is a list of layer widths; write [{hidden}]."
        )
    sizes = [in_features, *hidden, num_classes]
    for name, size in [("num_data", num_data), *((f"size {s}", s) for s in sizes)]:
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(
                f"BinaryMLP: {name} is {size!r}; sizes and counts are integers of at least 1, "
                "as in BinaryMLP(64, [256, 256], 10, num_data=len(x))."
            )


def check_normalisation(normalisation: str | None, with_real: Collection[str]) -> None:
    """Raise if it is not known, or cannot be had beside these layers of real weights."""
    if normalisation is not None and normalisation not in NORMALISATIONS:
        raise ValueError(
            f"BinaryMLP(normalisation={normalisation!r}) is not known; it is one of "
            f"{', '.join(map(repr, NORMALISATIONS))}, or None."
        )
    if normalisation not in (None, RECALIBRATED) and set(with_real) - {"output"}:
        raise ValueError(
            f"BinaryMLP(normalisation={normalisation!r}, real={sorted(with_real)}): moments do "
            "not go through hidden layers of real weights. Type "
            'normalisation="recalibrated", which measures the statistics of the ±1 layers.'
        )


def real_layers(real: Collection[str], names: Sequence[str]) -> frozenset[str]:
    """The layers named, of which there may not be all."""
    advice = 'Write real=("first", "last").'
    is_named = isinstance(real, Collection) and not isinstance(real, str)
    if not (is_named and all(isinstance(name, str) for name in real)):
        raise TypeError(f"BinaryMLP(real={real!r}): real is a collection of names. {advice}")
    meant = {**{name: name for name in names}, "first": names[0], "last": names[-1]}
    unknown = [name for name in real if name not in meant]
    if unknown:
        raise ValueError(
            f"BinaryMLP(real={tuple(real)}): there is no layer {unknown[0]!r}; the layers are "
            f"{', '.join(map(repr, names))}, also called 'first' and 'last' at the ends. {advice}"
        )
    found = frozenset(meant[name] for name in real)
    if len(found) == len(names):
        raise ValueError(
            f"BinaryMLP(real={tuple(real)}): all {len(names)} layers would have real weights, and "
            "no ±1 weights were left to infer. Leave a name out, or add a hidden layer."
        )
    return found
