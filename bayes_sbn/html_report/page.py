"""The page of a report: sections one after another, with their contents above, in one file.

Nothing is asked of another host and nothing runs: a content security policy in the page forbids
both, so that it holds whatever the page shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bayes_sbn import __version__
from bayes_sbn.html_report.markup import Content, Markup, element, join, name_of
from bayes_sbn.html_report.style import STYLE

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Args:
        name: its anchor, and its key in ``to_dict()``.
        title: its heading.
        content: what stands below it.
        numbers: what it states, as plain values.
    """

    name: str
    title: str
    content: Sequence[Content]
    numbers: Mapping[str, Any] = field(default_factory=dict)


def page(title: str, lead: Content, top: Sequence[Content], sections: Sequence[Section]) -> str:
    """The text of the file.

    Args:
        title: of the page, any text.
        lead: a sentence below it.
        top: what stands before the first section.
        sections: in their order; their names are different.
    """
    links = [element("li", element("a", s.title, href=f"#{s.name}")) for s in sections]
    body = [
        element("header", element("h1", name_of(title)), element("p", lead, class_="lead")),
        element("nav", element("ol", join(links)), aria_label="Sections"),
        element("main", join([*top, *(_section(s) for s in sections)])),
        element("footer", element("p", f"Made by bayes_sbn {__version__}.")),
    ]
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        # http-equiv, whose name would be no identifier
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        element("meta", name="generator", content=f"bayes_sbn {__version__}"),
        element("title", title),
        element("style", Markup(STYLE)),
    ]
    html = element(
        "html",
        element("head", join(head)),
        element("body", element("div", join(body), class_="page")),
        lang="en",
    )
    return f"<!DOCTYPE html>\n{html}\n"


def _section(section: Section) -> Markup:
    heading = element("h2", section.title)
    return element("section", join([heading, *section.content]), id=section.name)


def cards(items: Sequence[tuple[str, str, str]]) -> Markup:
    """Numbers at a glance: name, value, and what stands in small print below it."""
    found = [
        element(
            "div",
            element("div", name, class_="name"),
            element("div", value, class_="value"),
            element("div", small, class_="interval"),
            class_="card",
        )
        for name, value, small in items
    ]
    return element("div", join(found), class_="cards")
