"""The file of a report: well-formed, whole by itself, and deaf to what names try to do to it."""

import base64
import io
import re
import string

import numpy as np
import pytest
from matplotlib.image import imread

from bayes_sbn import report
from bayes_sbn.html_report import calibration
from bayes_sbn.html_report.page import POLICY
from tests.html_report.parsed import Page
from tests.html_report.posteriors import labels, of_classes, of_reals, record, rows

HOSTILE = (
    '<script>alert("1")</script>',
    "'\"></td></table><img src=https://evil.example/x.png onerror=alert(1)>",
    "&lt;b&gt; \u202edesrever $\\frac{1}{$ \x00\ud800\uffff",
)

DATE = "2026-01-31"


def made(path, posterior=None, **options):
    posterior = of_classes() if posterior is None else posterior
    inputs = posterior.num_inputs
    is_classes = posterior.likelihood == "categorical"
    y = labels(posterior.num_classes) if is_classes else rows(1, seed=5)[:, 0]
    options = {"draws": 5, "bootstrap": 50, "detail": False, "date": DATE, **options}
    return report(posterior, rows(inputs), y, path, **options)


CASES = {
    "plain": {},
    "everything": {
        "fit": [record(epoch) for epoch in range(1, 5)],
        "train": (rows(seed=7), labels(seed=8)),
        "ood": 3 * rows(seed=9).clip(-1, 1),
        "class_names": ["a", "b", "c"],
        "feature_names": list(string.ascii_lowercase[:6]),
        "title": "Everything",
    },
    "diagnosed": {"train": (rows(seed=7), labels(seed=8)), "draws": 20, "detail": True},
    "hostile": {
        "class_names": HOSTILE,
        "feature_names": [*HOSTILE, "d", "e", "f"],
        "title": HOSTILE[1],
        "row_names": [f"{HOSTILE[i % 3]} {i}" for i in range(40)],
        "call": HOSTILE[0],
        "notes": {HOSTILE[0]: HOSTILE[1]},
        "date": HOSTILE[2],
    },
    "images": {"image_shape": (2, 3)},
    "colours": {"posterior": of_classes(12), "image_shape": (2, 2, 3)},
    "plane": {
        "posterior": of_classes(2),
        "class_names": HOSTILE,
        "feature_names": HOSTILE[:2],
        "rescale_inputs": ([2.0, -3.0], [0.0, 100.0]),
    },
    "one_draw": {"draws": 1, "ood": rows(seed=9)},
    "many_classes": {"posterior": of_classes(6, 25)},
    "real": {"posterior": of_reals(), "feature_names": [*HOSTILE, "d"], "rescale": (10.0, 50.0)},
    "real_line": {"posterior": of_reals(1), "feature_names": HOSTILE[:1]},
}


@pytest.fixture(scope="module", params=CASES)
def file(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    return made(path, **CASES[request.param])


def test_page_is_well_formed_and_whole_by_itself(file):
    text = file.path.read_bytes().decode("utf-8")
    page = Page(text)
    assert not page.errors
    assert text.startswith("<!DOCTYPE html>\n<html")
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert tuple(i for i in ids if i) == file.sections
    anchors = page.attributes("href")
    contents = [a[1:] for a in anchors if a.startswith("#")][: len(file.sections)]
    assert contents == list(file.sections)
    assert {a[1:] for a in anchors if a.startswith("#")} == set(file.sections)
    assert not [a for a in anchors if not a.startswith("#")]
    for source in page.attributes("src"):
        head, data = source.split(",", 1)
        assert head == "data:image/png;base64"
        assert imread(io.BytesIO(base64.b64decode(data, validate=True))).size > 0
    assert all(image["alt"] and image["width"] and image["height"] for image in page.of("img"))
    assert {"script", "link", "iframe", "object", "form"}.isdisjoint(t for t, _ in page.elements)
    assert not [n for _, a in page.elements for n in a if n.startswith("on")]
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert any(m.get("content") == POLICY for m in page.of("meta"))


def test_hostile_names_are_shown_and_do_nothing(tmp_path):
    path = tmp_path / "report.html"
    made(path, **CASES["hostile"])
    page = Page(path.read_text("utf-8"))
    assert page.of("title") == [{}]
    for name in HOSTILE[:2]:
        assert " ".join(name.split()) in page.text
    seen = HOSTILE[2].translate({0: "\ufffd", 0xD800: "\ufffd", 0xFFFF: "\ufffd"})
    assert seen in page.text
    head = next(cells for table in page.tables for cells in table if "recall" in cells)
    table = next(t for t in page.tables if head in t)
    assert [cells[0] for cells in table[1:]] == [*HOSTILE[:2], seen]


def test_same_arguments_give_the_same_bytes(tmp_path):
    first, second = tmp_path / "a" / "r.html", tmp_path / "b" / "r.html"
    for path in (first, second):
        path.parent.mkdir()
    options = {**CASES["everything"], "call": "made by a test"}
    made(first, **options)
    made(second, **options)
    assert first.read_bytes() == second.read_bytes()
    made(second, **options, seed=1)
    assert first.read_bytes() != second.read_bytes()


def test_without_a_date_it_states_now_and_the_time_it_took(tmp_path):
    found = made(tmp_path / "r.html", date=None)
    assert re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d", found.numbers["origin"]["date"])
    assert set(found.numbers["origin"]["seconds"]) == {
        "predicting",
        "scores",
        "figures and tables",
    }
    assert min(found.numbers["origin"]["seconds"].values()) > 0
    assert "seconds" not in made(tmp_path / "r.html").numbers["origin"]


def test_a_report_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "r.html"
    path.write_text("old")
    monkeypatch.setattr("bayes_sbn.html_report.write.page", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made(path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_broken_pages_are_found_out():
    broken = {
        "<p><b></p>": "closes",
        "<div>": "left open",
        '<a href="#a" href="#b"></a>': "twice",
    }
    for text, words in broken.items():
        assert any(words in error for error in Page(text).errors)


def test_pictures_of_inputs_show_the_inputs(tmp_path):
    path = tmp_path / "r.html"
    found = made(path, **CASES["images"])
    page = Page(path.read_text("utf-8"))
    shown = [i for i in page.of("img") if i["alt"].startswith("input of row")]
    cases = found.numbers["cases"]
    wanted = [case["row"] for kind in ("least_sure", "sure_and_wrong") for case in cases[kind]]
    assert [i["alt"] for i in shown] == [f"input of row {row}" for row in wanted]
    x = rows()
    for image, row in zip(shown, wanted, strict=True):
        pixels = imread(io.BytesIO(base64.b64decode(image["src"].split(",")[1])))[..., 0]
        scaled = (x[row].reshape(2, 3) - x.min()) / (x.max() - x.min())
        np.testing.assert_allclose(
            pixels, scaled, atol=2 / 255
        )  # rounded twice, to 256 levels each


def test_names_that_every_font_has_are_drawn(tmp_path, monkeypatch):
    drawn, whole = [], calibration.picture

    def watched(figure, *words, **look):
        drawn.append(figure)
        return whole(figure, *words, **look)

    monkeypatch.setattr(calibration, "picture", watched)
    names = {"class_names": ["$up$", "\u043d\u0438\u0437"], "feature_names": ["east_$1$", "north"]}
    made(tmp_path / "r.html", of_classes(2, 2), **names)
    axes = drawn[-1].axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("east_$1$", "north")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["$up$", "class 1"]
    assert not axes.xaxis.label.get_parse_math()
