"""The study of calibration: images from elsewhere, settings and seeds."""

import math

import numpy as np
import pytest

import bayes_sbn as sbn
from studies.calibration import data, outside, scores, tables

pytestmark = pytest.mark.usefixtures("single_precision")


def test_unusual_images_are_found_by_what_is_unsure():
    rows = data.small_images()
    size = outside.Size((32,), 8, 64, draws=8, flip_rows=100)
    found = outside.floats(3)(rows.learn, 10, {"decay": 1.0, "dropout": 0.0}, size, 0)
    scored = outside.scored(found, rows, size)
    assert scored["accuracy"] > 0.8
    assert scored["AUROC entropy"] > 0.6
    assert f"AUROC {outside.FLIPS}" not in scored


def test_of_images_the_best_setting_of_the_first_seed_is_fitted_from_the_others(monkeypatch):
    rows = data.small_images()
    calls = []

    def fit(learn, classes, options, size, seed):
        calls.append((options["sure"], seed))
        parts = (rows.choose, rows.test)
        true = {x.tobytes(): y for part in parts for x, y in zip(part.x, part.y, strict=True)}

        def predict(x):
            probs = np.full((len(x), classes), 1.0)
            for row, image in enumerate(x):
                probs[row, true.get(image.tobytes(), 0)] += options["sure"] * seed
            return sbn.Predictions((probs / probs.sum(1, keepdims=True))[None])

        return outside.Found(predict)

    monkeypatch.setattr(outside, "FITS", {"made up": fit})
    monkeypatch.setattr(outside, "SETTINGS", {"made up": [{"sure": 0.5}, {"sure": 9.0}]})
    results = {}
    outside.study(rows, results, size=outside.Size(seeds=3), save=lambda: None)
    assert calls == [(0.5, 1), (9.0, 1), (9.0, 2), (9.0, 3)]
    kept = results["made up"]
    assert {setting: list(seeds) for setting, seeds in kept.items()} == {
        "sure 0.5": ["1"],
        "sure 9": ["1", "2", "3"],
    }
    found = [kept["sure 9"][seed]["nll"] for seed in "123"]
    np.testing.assert_allclose(found, [math.log((10 + 9 * k) / (1 + 9 * k)) for k in (1, 2, 3)])
    mean, error = scores.mean_and_error(found)
    (line,) = (line for line in tables.of_images(results) if line.startswith("| nll"))
    assert line == f"| nll | {mean:.4f} ± {error:.4f} |"
    outside.study(rows, results, size=outside.Size(seeds=3), save=lambda: None)
    assert len(calls) == 4
