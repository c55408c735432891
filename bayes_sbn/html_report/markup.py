"""Pieces of HTML that cannot be broken by what they show.

Text becomes HTML in one place, :func:`element`: whatever is not :class:`Markup` already is escaped,
in attributes as well, and characters that no HTML file may hold are replaced.  So a class whose
name is ``<script>`` is shown by that name.
"""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

_VOID = ("br", "hr", "img", "meta")
"""Elements that have no end tag."""

_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
"""Control characters, halves of surrogate pairs and non-characters."""

_SAFE_URL = re.compile(r"#[\w-]+|data:image/png;base64,[A-Za-z0-9+/=]+")
"""Anchors of the page itself, and pictures that it holds."""


class Markup(str):
    """HTML that needs no escaping, since it was made by this module."""

    __slots__ = ()


Content = str | int
"""Markup as it is, or text to be escaped."""

Align = Literal["left", "right"]


def escape(text: Content) -> Markup:
    """Text as HTML; Markup stays as it is.

    Example:
        >>> escape('<b> & "x"')
        '&lt;b&gt; &amp; &quot;x&quot;'
    """
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", str(text))))


def element(name: str, /, *content: Content, **attributes: Content | None) -> Markup:
    """An element with escaped text and attributes.

    Args:
        name: of the element.
        content: text, or Markup.
        attributes: values by name; one of None is left out.  A trailing underscore of a name is
            dropped and others are hyphens: ``class_="wide"``, ``aria_label="counts"``.

    Example:
        >>> element("p", "a < b", class_="note")
        '<p class="note">a &lt; b</p>'
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        if attribute in ("href", "src") and not _SAFE_URL.fullmatch(str(value)):
            raise ValueError(f"{attribute}={str(value)[:60]!r} would leave the page")
        parts.append(f'{attribute}="{escape(value)}"')
    start = f"<{' '.join(parts)}>"
    if name in _VOID:
        return Markup(start)
    return Markup(f"{start}{''.join(map(escape, content))}</{name}>")


def join(pieces: Iterable[Content]) -> Markup:
    """Pieces one after another, each on a line of its own."""
    return Markup("\n".join(map(escape, pieces)))


def text_of(*pieces: Content) -> Markup:
    """Pieces of one sentence."""
    return Markup("".join(map(escape, pieces)))


def name_of(text: str) -> Markup:
    """A name that the user gave, which does not turn the direction of what stands around it."""
    return element("bdi", text)


def is_drawable(name: str) -> bool:
    """Whether a name can stand in a picture: short, and of letters that every font has.

    Example:
        >>> is_drawable("petal length (cm)"), is_drawable("длина"), is_drawable("x" * 50)
        (True, False, False)
    """
    return name.isascii() and name.isprintable() and len(name) <= LONGEST_DRAWN


LONGEST_DRAWN = 24
"""Characters of a name in a picture."""


def table(
    head: Sequence[Content],
    rows: Iterable[Sequence[Content]],
    *,
    left: int = 1,
    caption: str | None = None,
    wrap: bool = False,
) -> Markup:
    """A table that scrolls sideways by itself where the window is narrow.

    One with a column of sentences puts these below their rows there.

    Args:
        head: titles of the columns.
        rows: cells.
        left: columns of words, from the left; the others are of numbers and stand right.
        caption: what the table is, for those who hear it, and in small print above it.
        wrap: whether the last column is of sentences, which may be broken into lines.
    """

    def cells(row: Sequence[Content], kind: str) -> Markup:
        found = []
        for index, cell in enumerate(row):
            is_words = index < left or (wrap and index == len(row) - 1)
            is_long = wrap and index == len(row) - 1
            look = " ".join(filter(None, ("" if is_words else "n", "long" if is_long else "")))
            scope = "col" if kind == "th" else None
            if kind == "td" and index == 0:
                found.append(element("th", cell, scope="row", class_=look or None))
            else:
                found.append(element(kind, cell, scope=scope, class_=look or None))
        return element("tr", *found)

    parts = [element("caption", caption)] if caption else []
    parts.append(element("thead", cells(head, "th")))
    parts.append(element("tbody", join(cells(row, "td") for row in rows)))
    # A box that scrolls is reached by the keyboard only if it can have the focus.
    label = caption or ", ".join(re.sub("<[^>]*>", "", str(title)) for title in head)
    return element(
        "div",
        element("table", *parts, class_="sentences" if wrap else None),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=label,
    )


def facts(pairs: Iterable[tuple[Content, Content]]) -> Markup:
    """A list of names and what they are."""
    items = [element("div", element("dt", name), element("dd", value)) for name, value in pairs]
    return element("dl", join(items), class_="facts")


def picture(
    figure: Figure | SubFigure, words: str, caption: Content, *, wide: bool = False
) -> Markup:
    """A figure as a picture inside the page.

    Args:
        figure: of matplotlib.
        words: what it shows, in place of the picture for those who do not see it.
        caption: how to read it, below it.
        wide: whether it takes the width of the page.
    """
    data = io.BytesIO()
    # The program's version is in no way part of the picture.
    whole: Any = figure.figure  # of a figure it is itself
    whole.savefig(data, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    width, height = (round(96 * inches) for inches in whole.get_size_inches())
    image = inline_image(data.getvalue(), words, width, height)
    return element("figure", image, element("figcaption", caption), class_="wide" if wide else None)


def inline_image(
    png: bytes, words: str, width: int, height: int, look: str | None = None
) -> Markup:
    """A PNG file inside the page."""
    source = "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    return element("img", src=source, alt=words, width=width, height=height, class_=look)
