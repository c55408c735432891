"""An ensemble with its recalibration: predictions, folder, and what does not fit together."""

import numpy as np
import pytest

import bayes_sbn as sbn
from bayes_sbn.recalibration import (
    IsotonicQuantiles,
    Recalibration,
    TemperatureScaling,
    VarianceScaling,
    VectorScaling,
)
from tests.chance import numpy_generator
from tests.plain_networks import random_posterior
from tests.test_ensemble_regression import posterior as regression_posterior

X = numpy_generator("recalibrated rows").uniform(-2, 2, size=(60, 5))
TARGETS = numpy_generator("recalibrated targets").normal(size=60)


def of_classes() -> sbn.Ensemble:
    return random_posterior((5, 8, 6, 2), label="recalibrated").draw(4, seed=1)


def of_reals() -> sbn.Ensemble:
    return regression_posterior().draw(4, seed=1)


# Right but for every fourth row, so that there is a temperature to be found.
LABELS = of_classes().predict(X).mean.argmax(axis=1) ^ (np.arange(60) % 4 == 0)


@pytest.mark.filterwarnings("ignore::bayes_sbn.recalibration.RecalibrationWarning")
@pytest.mark.parametrize(
    ("make", "method", "y"),
    [
        (of_classes, TemperatureScaling(), LABELS),
        (of_classes, VectorScaling(penalty=1e-2), LABELS),
        (of_reals, VarianceScaling(), TARGETS),
        (of_reals, IsotonicQuantiles(), TARGETS),
    ],
)
def test_predictions_are_recalibrated_before_and_after_loading(make, method, y, tmp_path):
    ensemble = make()
    recalibration = method.fit(ensemble.predict(X), y)
    both = sbn.RecalibratedEnsemble(ensemble, recalibration)
    both.save(tmp_path / "deep" / "both")
    loaded = sbn.RecalibratedEnsemble.load(str(tmp_path / "deep" / "both"))
    assert len(loaded) == 4
    assert repr(loaded) == repr(both)
    assert type(loaded.ensemble) is type(ensemble)
    assert type(loaded.recalibration) is type(recalibration)
    for noise in ("shared", "independent"):
        expected = recalibration(ensemble.predict(X[:7], noise=noise))
        for predictor in (both, loaded):
            found = predictor.predict(X[:7], noise=noise)
            assert type(found) is type(expected)
            np.testing.assert_array_equal(found.mean, expected.mean)
            np.testing.assert_array_equal(found.epistemic, expected.epistemic)
    files = sorted(path.name for path in (tmp_path / "deep" / "both").iterdir())
    assert files == ["ensemble.sbn", "recalibration.json"]


def temperature() -> Recalibration:
    return TemperatureScaling().fit(of_classes().predict(X), LABELS)


def test_folders_are_not_mixed_and_must_be_whole(tmp_path):
    both = sbn.RecalibratedEnsemble(of_classes(), temperature())
    both.save(tmp_path)  # an empty folder is taken
    with pytest.raises(
        FileExistsError, match=r"RecalibratedEnsemble.save\(.*has files. Name a new"
    ):
        both.save(tmp_path)
    (tmp_path / "recalibration.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no recalibration.json in it. Pass a"):
        sbn.RecalibratedEnsemble.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no ensemble.sbn and no recalibration.json in it"):
        sbn.RecalibratedEnsemble.load(tmp_path / "nowhere")
    (tmp_path / "recalibration.json").write_text("{}")
    with pytest.raises(ValueError, match="damaged or holds no recalibration"):
        sbn.RecalibratedEnsemble.load(tmp_path)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(TypeError, match=r"needs an ensemble: received Predictions. Write"):
        sbn.RecalibratedEnsemble(of_classes().predict(X), temperature())
    with pytest.raises(TypeError, match=r"needs a recalibration: received float. Write"):
        sbn.RecalibratedEnsemble(of_classes(), 1.5)
    with pytest.raises(ValueError, match=r"not fitted\). Write .fit\(ensemble.predict"):
        sbn.RecalibratedEnsemble(of_classes(), TemperatureScaling())
    with pytest.raises(
        TypeError, match=r"TemperatureScaling is not for a RegressionEnsemble. It p"
    ):
        sbn.RecalibratedEnsemble(of_reals(), temperature())
    variance = VarianceScaling().fit(of_reals().predict(X), TARGETS)
    with pytest.raises(
        TypeError, match=r"VarianceScaling is not for a Ensemble. It predicts class"
    ):
        sbn.RecalibratedEnsemble(of_classes(), variance)
