"""The documentation is alive: its code runs, its links lead somewhere, its site is built.

Every Python block of a page is executed, top to bottom in one namespace, as a user would: float32,
a folder of its own.  What a block prints and which error it raises is compared with the block after
it, by the titles of the fences (see :data:`FENCES`).
"""

import contextlib
import importlib.util
import io
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from bayes_sbn.estimators.estimator import REGISTRY

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])

FENCES = {
    "": "run",
    'title="prints"': "what the block before printed, to the letter",
    'title="raises <Error>"': "run, and must raise",
    'title="says"': "the words of the error before; … stands for words left out",
}


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        language: the first word of the fence.
        title: its title, or ''.
        line: the line of the page at which its text begins, from 1.
        text: what is inside.
    """

    language: str
    title: str
    line: int
    text: str


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page."""
    found: list[Block] = []
    fence, start, inside = None, 0, []
    for number, line in enumerate(text.splitlines(), 1):
        if fence is None:
            fence = re.match(r'(`{3,})(\w*)\s*(?:title="([^"]*)")?\s*$', line)
            start, inside = number + 1, []
        elif line.rstrip() == fence[1]:
            found.append(Block(fence[2], fence[3] or "", start, "\n".join(inside) + "\n"))
            fence = None
        else:
            inside.append(line)
    assert fence is None, f"the fence of line {start - 1} is never closed"
    return found


def run_page(name: str, text: str) -> int:
    """Execute a page; the number of blocks that ran. Raises where page and program differ."""
    namespace: dict[str, object] = {"__name__": name}
    printed, said, count = "", "", 0
    for block in blocks(text):
        where = f"{name}:{block.line}"
        if block.language == "python":
            printed, said = execute(block, name, namespace)
            count += 1
        elif block.title == "prints":
            assert printed.rstrip() == block.text.rstrip(), f"{where}: printed\n{printed}"
        elif block.title == "says":
            pieces = [re.escape(words(piece)) for piece in block.text.split("…")]
            wanted = r"\s*.*\s*".join(pieces)
            assert re.fullmatch(wanted, words(said)), f"{where}: the error was\n{said}"
        else:
            assert not block.title, f"{where}: title {block.title!r} is none of {list(FENCES)}"
    return count


def execute(block: Block, name: str, namespace: dict[str, object]) -> tuple[str, str]:
    """What a Python block printed, and the words of the error that it must raise, or ''."""
    expected = re.fullmatch(r"raises (\w+)", block.title)
    assert expected or not block.title, f"{name}:{block.line}: title {block.title!r} is not known"
    # blank lines before it make tracebacks show the lines of the page
    code = compile("\n" * (block.line - 1) + block.text, name, "exec")
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        if not expected:
            exec(code, namespace)
            return output.getvalue(), ""
        with pytest.raises(Exception) as raised:  # noqa: PT011 - the page has its type
            exec(code, namespace)
    assert type(raised.value).__name__ == expected[1], f"{name}:{block.line}: {raised.value!r}"
    return output.getvalue(), str(raised.value)


def words(text: str) -> str:
    """The text with every run of white space as one space."""
    return " ".join(text.split())


def expanded(page: Path) -> str:
    """The text of a page with the files that it includes."""
    include = re.compile(r'^--8<-- "([^"]+)"$', re.MULTILINE)
    return include.sub(lambda match: (ROOT / match[1]).read_text("utf-8"), page.read_text("utf-8"))


def relative(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def _as_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Float32, a folder of one's own, and a registry that is put back."""
    torch.set_default_dtype(torch.float32)
    monkeypatch.chdir(tmp_path)
    registered = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(registered)


# The example of the README is that of the index, so it is run once.
WITH_CODE = [
    relative(page)
    for page in PAGES
    if page != ROOT / "README.md"
    and any(block.language == "python" for block in blocks(page.read_text("utf-8")))
]


@pytest.mark.usefixtures("_as_a_user")
@pytest.mark.parametrize("page", WITH_CODE)
def test_page_runs_as_written(page):
    assert run_page(page, (ROOT / page).read_text("utf-8")) > 0


def test_readme_example_is_that_of_the_index():
    examples = [
        [b.text for b in blocks(page.read_text("utf-8")) if b.language == "python"]
        for page in (ROOT / "README.md", DOCS / "index.md")
    ]
    assert examples[0] == examples[1]
    assert len(examples[0]) == 1


WRONG_PAGES = {
    "fails": ("```python\n1 / 0\n```", ZeroDivisionError),
    "prints_else": ('```python\nprint(1)\n```\n```text title="prints"\n2\n```', AssertionError),
    "does_not_raise": ('```python title="raises ValueError"\n1\n```', pytest.fail.Exception),
    "raises_else": ('```python title="raises ValueError"\n1 / 0\n```', AssertionError),
    "says_else": (
        '```python title="raises ZeroDivisionError"\n1 / 0\n```\n'
        '```text title="says"\ndivision … nought\n```',
        AssertionError,
    ),
    "unknown_title": ('```python title="maybe"\n1\n```', AssertionError),
    "never_closed": ("```python\n1\n", AssertionError),
}


@pytest.mark.parametrize("name", WRONG_PAGES)
def test_wrong_page_is_noticed(name):
    text, error = WRONG_PAGES[name]
    with pytest.raises(error):
        run_page(name, text)


def test_right_page_passes():
    text = (
        '```python\nx = 1\n```\n\n```python\nprint(x)\n```\n\n```text title="prints"\n1\n```\n'
        '```python title="raises ZeroDivisionError"\n1 / 0\n```\n```text title="says"\n'
        "division by\n…zero\n```\n```\nplain\n```\n"
    )
    assert run_page("right", text) == 3


# ---- links ---------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as Python-Markdown's ``toc`` makes them."""
    outside = re.sub(r"(?ms)^```.*?^```$", "", expanded(page))
    found = set()
    for heading in re.findall(r"(?m)^#+ +(.+)$", outside):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        plain = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
        plain = re.sub(r"[^\w\s-]", "", plain).strip().lower()
        found.add(re.sub(r"[-\s]+", "-", plain))
    return found


def broken_links(page: Path, text: str) -> list[str]:
    """Links of a page to files or headings that are not there."""
    outside = re.sub(r"(?ms)^```.*?^```$", "", text)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", outside):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.is_file() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", [relative(page) for page in PAGES])
def test_links_lead_to_files_and_headings(page):
    assert broken_links(ROOT / page, (ROOT / page).read_text("utf-8")) == []


def test_broken_links_are_noticed():
    page = DOCS / "index.md"
    text = "[a](quickstart.md) [b](nowhere.md) [c](quickstart.md#fit-the-pyro-way) [d](#nothing)"
    assert broken_links(page, text) == ["nowhere.md", "#nothing"]


# ---- the site ------------------------------------------------------------------------------------

GENERATOR = ("mkdocs", "material", "mkdocstrings", "griffe", "latex2mathml")
REMNANTS = re.compile(r":(?:class|func|meth|mod|data|math):|\.\. math::|={5,}")
"""What reStructuredText leaves behind where it is not understood."""


def missing_tools() -> list[str]:
    return [
        name
        for name in GENERATOR
        if not importlib.util.find_spec(name.partition(".")[0])
        or not importlib.util.find_spec(name)
    ]


@pytest.mark.skipif(bool(missing_tools()), reason=f"needs {', '.join(missing_tools())}: make docs")
def test_site_is_built_strictly_and_needs_no_network(tmp_path):
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    pages = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*.html")}
    assert len(pages) > len(list(DOCS.rglob("*.md")))  # and that of a missing address
    for name, path in pages.items():
        text = path.read_text("utf-8")
        loads = re.findall(r'<(?:script|img|iframe|link)\b[^>]*(?:src|href)="(?:https?:)?//', text)
        assert not loads, name
        assert not REMNANTS.search(text), name
    assert "<math" in pages["api/predictions/index.html"].read_text("utf-8")
