"""Draw the pictures of the page of figures by running its blocks, into docs/images.

From the repository's root: ``python docs/draw_figures.py``.  The pictures are then reduced to 128
colours, which no eye tells from all of them.
"""

import os
import re
from pathlib import Path

from PIL import Image

PAGE = Path(__file__).with_name("figures.md").resolve()
COLOURS = 128


def main() -> None:
    """Run the page's blocks of Python, top to bottom in one namespace."""
    os.chdir(PAGE.parent / "images")
    text = PAGE.read_text("utf-8")
    namespace: dict[str, object] = {"__name__": "figures"}
    for block in re.findall(r"(?ms)^```python\n(.*?)^```", text):
        exec(compile(block, str(PAGE), "exec"), namespace)
    for name in re.findall(r"\(images/(\w+\.png)\)", text):
        reduce_colours(Path(name))


def reduce_colours(path: Path) -> None:
    """Write a picture anew with a palette."""
    with Image.open(path) as picture:
        reduced = picture.convert("RGB").quantize(COLOURS)
    reduced.save(path, optimize=True)


if __name__ == "__main__":
    main()
