"""What every report is: rows of metrics with intervals and conventions, as a table, JSON and CSV.

A report is a frozen dataclass with its metrics under ``rows`` and whatever else is known of it in
further fields; all of them are exported under their names.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass, fields
from typing import Any

from bayes_sbn.json_numbers import in_json


@dataclass(frozen=True)
class MetricRow:
    """One metric: its name, value, the ends of its interval and its convention in words."""

    metric: str
    value: float
    low: float
    high: float
    convention: str


@dataclass(frozen=True)
class ReportBase:
    """Rows of metrics that are looked up by name, printed as a table and exported.

    Args:
        rows: the metrics.
        num_rows: rows of the test set.
    """

    rows: tuple[MetricRow, ...]
    num_rows: int

    def __getitem__(self, metric: str) -> MetricRow:
        """The row of a metric, by its name."""
        for row in self.rows:
            if row.metric == metric:
                return row
        names = ", ".join(row.metric for row in self.rows)
        raise KeyError(f"report[{metric!r}]: the report has {names}.")

    def __iter__(self) -> Iterator[MetricRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def to_dict(self) -> dict[str, object]:
        """The report as plain numbers and strings, the metrics under their names."""
        contents: dict[str, Any] = {
            field.name: getattr(self, field.name) for field in fields(self) if field.name != "rows"
        }
        contents["metrics"] = {
            row.metric: {key: value for key, value in asdict(row).items() if key != "metric"}
            for row in self.rows
        }
        return contents

    def to_csv(self) -> str:
        """The rows as CSV text under a heading: metric, value, low, high, convention."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([field.name for field in fields(MetricRow)])
        writer.writerows(astuple(row) for row in self.rows)
        return text.getvalue()

    def to_json(self) -> str:
        """The same as JSON text, in which a number that JSON lacks is a string.

        These are "Infinity", "-Infinity" and "NaN".
        """
        return json.dumps(in_json(self.to_dict()), indent=2, allow_nan=False)

    def _table(self, heading: str, interval: str, note: str, number: str) -> str:
        """The text that ``print`` shows.

        Args:
            heading: the line above the table.
            interval: what the column of the intervals is called.
            note: the line below the table.
            number: how numbers are formatted, such as ``".4f"``.
        """
        cells = [("metric", "value", interval, "convention")]
        for row in self.rows:
            ends = f"[{row.low:{number}}, {row.high:{number}}]"
            cells.append((row.metric, f"{row.value:{number}}", ends, row.convention))
        widths = [max(len(line[i]) for line in cells) for i in range(3)]
        lines = (
            f"{name:<{widths[0]}}  {value:>{widths[1]}}  {ends:<{widths[2]}}  {convention}"
            for name, value, ends, convention in cells
        )
        return "\n".join([heading, *lines, note])


def counted(count: int, noun: str) -> str:
    """A count and its noun, in the plural if need be."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
