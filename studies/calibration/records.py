"""Records of the study in files: a line each, written whole, and added to by several runs."""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"


class Kept:
    """Records of a part, in a file or nowhere.

    Args:
        path: of the file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.records: dict[str, Any] = {}
        self.read()

    def read(self) -> None:
        """Take over what the file has, such as what another run has added to it."""
        if self.path is not None and self.path.exists():
            merge(self.records, json.loads(self.path.read_text("utf-8")))

    def save(self) -> None:
        """At once, or not at all."""
        if self.path is None:
            return
        self.read()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(compact(self.records), "utf-8")
        new.replace(self.path)


def merge(records: dict[str, Any], others: dict[str, Any]) -> None:
    """Add the records of others that are not there."""
    for name, other in others.items():
        if name not in records:
            records[name] = other
        elif "seconds" not in other:
            merge(records[name], other)


def rounded(value: Any) -> Any:
    """The same with five digits."""
    return json.loads(json.dumps(value), parse_float=lambda text: float(f"{float(text):.5g}"))


def compact(records: dict[str, Any]) -> str:
    """JSON with a line for each record."""
    lines, depth = [], 0

    def write(value: dict[str, Any], indent: int) -> None:
        for place, (name, inner) in enumerate(value.items()):
            comma = "," if place + 1 < len(value) else ""
            start = " " * indent + json.dumps(name) + ": "
            if "seconds" in inner:
                lines.append(start + json.dumps(inner) + comma)
                continue
            lines.append(start + "{")
            write(inner, indent + 1)
            lines.append(" " * indent + "}" + comma)

    write(rounded(records), depth + 1)
    return "\n".join(["{", *lines, "}"]) + "\n"
