r"""Docstrings for the API pages: the reStructuredText that the sources use, in Markdown.

The docstrings are meant to be read in an editor, where roles, ``.. math::`` and simple tables are
plain enough.  The pages are Markdown, so before they are rendered

* ``:class:`~bayes_sbn.noise.Noise` `` and the other roles become code, linked where the API pages
  have the name;
* ``:math:`` and ``.. math::`` become MathML, which browsers draw by themselves: no script, no font,
  no network;
* simple tables (columns under rules of ``=``) become Markdown tables;
* examples with ``>>>`` become code blocks.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import griffe
from latex2mathml.converter import convert

ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|obj|exc):`(~?)([\w.]+)`")
INLINE_MATH = re.compile(r":math:`([^`]+)`")
RULE = re.compile(r"^\s*=+(?: +=+)+\s*$")
DIRECTIVE = re.compile(r"^(\s*)\.\. math::\s*(.*)$")


class DocstringMarkup(griffe.Extension):
    """Rewrites every docstring of a package once all of it is loaded."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """See the module's docstring."""
        del kwargs
        _rewrite(pkg)


def _rewrite(thing: griffe.Object) -> None:
    if thing.docstring is not None:
        thing.docstring.value = to_markdown(thing.docstring.value, lambda name: _path(thing, name))
    for member in thing.members.values():
        if not member.is_alias:
            _rewrite(member)


def _path(scope: griffe.Object, name: str) -> str:
    """The full path of a name as it is meant where it is written."""
    first, _, rest = name.partition(".")
    try:
        found = scope.resolve(first)
    except griffe.NameResolutionError:
        return name
    return f"{found}.{rest}" if rest else found


def to_markdown(text: str, path: Callable[[str], str] = str) -> str:
    """A docstring in Markdown.

    Args:
        text: the docstring, without its common indentation.
        path: from a name as written to its full path.
    """
    lines = _doctests(_tables(_display_math(text.split("\n"))))
    text = INLINE_MATH.sub(lambda match: mathml(match[1], "inline"), "\n".join(lines))
    return ROLE.sub(lambda match: _reference(match[1], match[2], path), text)


def mathml(latex: str, display: str) -> str:
    """A formula as one line of MathML."""
    formula = " ".join(convert(" ".join(latex.split()), display=display).split())
    # A line that begins with <math> would be a block to Markdown, also in the midst of a sentence.
    return formula if display == "block" else f"<span>{formula}</span>"


def _reference(short: str, name: str, path: Callable[[str], str]) -> str:
    shown = html.escape(name.rpartition(".")[2] if short else name)
    return f'<autoref optional identifier="{path(name)}"><code>{shown}</code></autoref>'


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _display_math(lines: list[str]) -> list[str]:
    result: list[str] = []
    i = 0
    while i < len(lines):
        found = DIRECTIVE.match(lines[i])
        i += 1
        if not found:
            result.append(lines[i - 1])
            continue
        body = [found[2]]
        while i < len(lines) and (not lines[i].strip() or _indent(lines[i]) > len(found[1])):
            body.append(lines[i])
            i += 1
        result += ["", found[1] + mathml("\n".join(body), "block"), ""]
    return result


def _tables(lines: list[str]) -> list[str]:
    result: list[str] = []
    i = 0
    while i < len(lines):
        if not RULE.match(lines[i]):
            result.append(lines[i])
            i += 1
            continue
        rules = [k for k in range(i, len(lines)) if RULE.match(lines[k])]
        last = next((k for k in rules[1:] if k + 1 == len(lines) or not lines[k + 1].strip()), None)
        if last is None:
            raise ValueError(f"the table that begins with {lines[i]!r} has no end")
        result += ["", *_table(lines[i : last + 1]), ""]
        i = last + 1
    return result


def _table(lines: list[str]) -> list[str]:
    margin = " " * _indent(lines[0])
    starts = [match.start() for match in re.finditer("=+", lines[0])]
    spans = list(zip(starts, [*starts[1:], None], strict=True))
    inner = [k for k in range(1, len(lines) - 1) if RULE.match(lines[k])]
    rows: list[list[str]] = []
    header_rows = 0
    for k, line in enumerate(lines[1:-1], 1):
        if k in inner:
            header_rows = len(rows)
            continue
        cells = [line[start:end].strip() for start, end in spans]
        if cells[0] or not rows:
            rows.append(cells)
        else:  # a line without a first cell continues the row above it
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells, strict=True)]
    header = rows[:header_rows] or [["" for _ in spans]]
    body = rows[header_rows:]
    return [
        margin + "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |"
        for row in [*header, ["---" for _ in spans], *body]
    ]


def _doctests(lines: list[str]) -> list[str]:
    result: list[str] = []
    inside = False
    for line in lines:
        if not inside and line.lstrip().startswith(">>> "):
            inside = True
            result.append(" " * _indent(line) + "```pycon")
        elif inside and not line.strip():
            inside = False
            result.append(" " * _indent(result[-1]) + "```")
        result.append(line)
    if inside:
        result.append(" " * _indent(result[-1]) + "```")
    return result
