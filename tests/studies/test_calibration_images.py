"""The study of calibration: images from elsewhere."""

import pytest

from studies.calibration import data, outside

pytestmark = pytest.mark.usefixtures("single_precision")


def test_unusual_images_are_found_by_what_is_unsure():
    rows = data.small_images()
    size = outside.Size((32,), 8, 64, draws=8, flip_rows=100, resamples=10)
    found = outside.floats(3)(rows.learn, 10, {"decay": 1.0, "dropout": 0.0}, size, 0)
    scored = outside.scored(found, rows, size)
    assert scored["accuracy"][0] > 0.8
    assert scored["AUROC entropy"][0] > 0.6
    assert 0 < scored["AUROC entropy"][1] < 0.1
    assert outside.FLIPS not in scored
