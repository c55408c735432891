"""A report in a browser: nothing overflows, at the width of a screen and of a phone."""

import re
import shutil
import subprocess

import pytest
from matplotlib.image import imread

from tests.html_report.test_page import CASES, made

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)

WIDTHS = {"screen": 1200, "phone": 500}
"""Windows; a headless one is 500 wide at least."""

MEASURE = """
<script>
  const wide = document.documentElement.scrollWidth, window_ = document.documentElement.clientWidth;
  const broken = [...document.images].filter(i => !i.complete || !i.naturalWidth).length;
  const cut = [...document.querySelectorAll('.long')].filter(
    c => c.getBoundingClientRect().right > window_).length;
  document.title = JSON.stringify({wide, window: window_, broken, cut});
</script>
"""
"""Put into a copy of the page, whose policy is taken out, to read off what it came to."""


def chromium(folder, *arguments):
    profile = folder / "profile"
    found = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    shutil.rmtree(profile, ignore_errors=True)
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.parametrize("case", ["hostile", "images", "real"])
def test_nothing_is_wider_than_the_window(case, tmp_path):
    text = made(tmp_path / "r.html", **CASES[case]).path.read_text("utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    (tmp_path / "m.html").write_text(text.replace("</body>", MEASURE + "</body>"), "utf-8")
    for width in WIDTHS.values():
        dom = chromium(
            tmp_path,
            f"--window-size={width},900",
            "--dump-dom",
            (tmp_path / "m.html").as_uri(),
        )
        title = re.search(r"<title>(.*?)</title>", dom)[1]
        assert title == f'{{"wide":{width},"window":{width},"broken":0,"cut":0}}'


def test_what_is_wider_is_noticed(tmp_path):
    wide = '<p style="width:3000px">x</p><p style="width:600px" class="long">y</p>'
    page = f'{wide}<img src="nowhere.png">{MEASURE}'
    (tmp_path / "m.html").write_text(f"<!DOCTYPE html><body>{page}</body>")
    dom = chromium(tmp_path, "--window-size=500,900", "--dump-dom", (tmp_path / "m.html").as_uri())
    title = re.search(r"<title>(.*?)</title>", dom)[1]
    assert '"broken":1,"cut":1' in title
    assert int(re.search(r'"wide":(\d+)', title)[1]) > 3000


def test_the_policy_lets_no_script_run(tmp_path):
    text = made(tmp_path / "r.html", title="as it was").path.read_text("utf-8")
    (tmp_path / "m.html").write_text(text.replace("</body>", MEASURE + "</body>"), "utf-8")
    dom = chromium(tmp_path, "--dump-dom", (tmp_path / "m.html").as_uri())
    assert re.search(r"<title>(.*?)</title>", dom)[1] == "as it was"


@pytest.mark.skipif(shutil.which("pdftoppm") is None, reason="there is no pdftoppm here")
def test_paper_is_white_where_the_screen_is_dark(tmp_path):
    made(tmp_path / "r.html")
    chromium(
        tmp_path,
        "--blink-settings=preferredColorScheme=0",
        "--no-pdf-header-footer",
        f"--print-to-pdf={tmp_path / 'r.pdf'}",
        (tmp_path / "r.html").as_uri(),
    )
    command = ["pdftoppm", "-r", "40", "-png", tmp_path / "r.pdf", tmp_path / "sheet"]
    subprocess.run(command, check=True, timeout=60)
    sheets = sorted(tmp_path.glob("sheet*.png"))
    assert len(sheets) > 1
    for sheet in sheets:
        shades = imread(sheet)[..., :3].mean(axis=-1)
        assert shades.mean() > 0.8
        assert shades[:5].min() == shades[:, :5].min() == 1  # a margin with nothing in it


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_ground_and_ink_follow_the_scheme(scheme, tmp_path):
    made(tmp_path / "r.html")
    picture = tmp_path / "shot.png"
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    chromium(
        tmp_path,
        *dark,
        "--window-size=1200,400",
        f"--screenshot={picture}",
        (tmp_path / "r.html").as_uri(),
    )
    shades = imread(picture)[..., :3].mean(axis=-1)
    ground = shades[5, 5]  # of a corner
    furthest = shades.min() if ground > 0.5 else shades.max()
    assert (ground > 0.9) == (scheme == "light")
    assert abs(furthest - ground) > 0.7
