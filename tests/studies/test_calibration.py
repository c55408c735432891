"""The study of calibration: splits, methods by their formulas, and how settings are chosen."""

import math

import numpy as np
import pytest

import bayes_sbn as sbn
from studies.calibration import data, methods, scores, tabular
from studies.calibration.data import Rows
from studies.calibration.tasks import Effort, Task
from tests.studies.calibration_rows import line

pytestmark = pytest.mark.usefixtures("single_precision")


def write_regression(folder, name="concrete", rows=40):
    own = folder / "uci_regression" / name / "data"
    own.mkdir(parents=True)
    generator = np.random.default_rng(0)
    values = generator.normal(size=(rows, 4))
    np.savetxt(own / "data.txt", values)
    np.savetxt(own / "index_features.txt", [0, 1, 3], fmt="%d")
    np.savetxt(own / "index_target.txt", [2], fmt="%d")
    for split in range(data.SPLITS):
        order = generator.permutation(rows)
        np.savetxt(own / f"index_train_{split}.txt", order[4:], fmt="%d")
        np.savetxt(own / f"index_test_{split}.txt", order[:4], fmt="%d")
    return values


def test_regression_is_read_with_its_own_columns_and_splits(tmp_path):
    values = write_regression(tmp_path)
    table = data.regression(tmp_path, "concrete")
    split = table.split(7)
    np.testing.assert_array_equal(table.rows.y, values[:, 2])
    np.testing.assert_array_equal(table.rows.x, values[:, [0, 1, 3]])
    scored = np.loadtxt(tmp_path / "uci_regression/concrete/data/index_test_7.txt").astype(int)
    np.testing.assert_array_equal(split.test.y, values[scored, 2])
    with pytest.raises(FileNotFoundError, match="Give --data PATH"):
        data.regression(tmp_path, "yacht")


@pytest.mark.parametrize("classes", [0, 3])
def test_no_row_that_is_scored_is_learned_or_chooses(classes):
    table = data.made_up(classes)
    for number in range(3):
        split = table.split(number)
        parts = [{tuple(row) for row in rows.x} for rows in (split.learn, split.choose, split.test)]
        assert not parts[0] & parts[1]
        assert not (parts[0] | parts[1]) & parts[2]
        assert parts[0] | parts[1] == {tuple(row) for row in split.train.x}
        assert len(split.train) + len(split.test) == len(table.rows)
        assert len(split.choose) == round(0.2 * len(split.train))
    first, again, other = (table.split(number).test.x for number in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("classes", [0, 3])
def test_rows_that_choose_for_several_splits_are_scored_by_none(classes):
    table = data.made_up(classes)
    splits = [table.split(number, 3) for number in range(3, 6)]
    scored = {tuple(row) for split in splits for row in split.test.x}
    for split in splits:
        used = {tuple(row) for rows in (split.learn, split.choose) for row in rows.x}
        assert not used & scored
        assert used == {tuple(row) for row in table.rows.x} - scored
        assert np.array_equal(split.choose.x, splits[0].choose.x)
        assert np.array_equal(split.train.x, table.split(split.number).train.x)


def test_classification_files_are_read_by_their_columns(tmp_path):
    folder = tmp_path / "uci_classification"
    text = {
        "banknote/data_banknote_authentication.txt": "1.5,2,3,4,0\n-1,2,3,4.5,1\n",
        "breast_cancer_diagnostic/wdbc.data": "17,M,1,2.5\n18,B,3,4\n",
        "ionosphere/ionosphere.data": "1,0,0.5,g\n1,0,-0.5,b\n",
        "seeds/seeds_dataset.txt": "1.5\t2\t\t3\n4 5 1\n",
    }
    for name, content in text.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(content)
    found = {name: data.classification(tmp_path, name) for name in data.CLASSIFICATION}
    assert found["banknote"].rows.x.tolist() == [[1.5, 2, 3, 4], [-1, 2, 3, 4.5]]
    assert found["wdbc"].rows.x.tolist() == [[1, 2.5], [3, 4]]
    assert found["wdbc"].rows.y.tolist() == [1, 0]  # B before M
    assert found["ionosphere"].rows.x.tolist() == [[1, 0, 0.5], [1, 0, -0.5]]
    assert found["seeds"].rows.x.tolist() == [[1.5, 2], [4, 5]]
    assert {table.classes for table in found.values()} == {2}


def test_scaling_is_by_the_rows_that_are_learned():
    rows = line()
    scaling = data.Scaling.of(rows, real=True)
    inputs = scaling.inputs(rows.x)
    np.testing.assert_allclose(inputs.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(inputs.std(0), 1)
    np.testing.assert_allclose(scaling.targets(rows.y).std(), 1)
    constant = Rows(np.ones((5, 1)), np.arange(5))
    assert not data.Scaling.of(constant, real=False).inputs(constant.x).any()


def test_each_method_predicts_a_line_in_its_own_units():
    learn, test = line(200), line(100, seed=1)
    effort = Effort(steps=100, batch_size=50, draws=20, members=2)
    errors = {}
    for name, method in methods.METHODS.items():
        if not method.regression:
            continue
        options = {**method.regression[-1], "width": 50}
        task = Task(learn, test.x, 0, options, 1)
        (pred,) = method.fit([task], effort)
        found = scores.regression(pred, test.y)
        errors[name] = found["rmse"]
        assert found["coverage"] > 0.7
    assert errors["ridge"] < 0.6
    for name in (*methods.BINARIES, methods.ENSEMBLE, methods.DROPOUT):
        assert errors[name] < 0.5 * test.y.std()


def test_ridge_is_its_formula_with_the_errors_left_out_one_by_one():
    learn = line(30)
    task = Task(learn, learn.x[:4], 0, {}, 0)
    ((pred),) = methods.ridge([task], Effort())
    x = data.Scaling.of(learn, real=True).inputs(learn.x)
    best = None
    for alpha in np.logspace(-3, 3, 13):
        hat = x @ np.linalg.solve(x.T @ x + alpha * np.eye(2), x.T) + 1 / len(x)
        left_out = (learn.y - hat @ learn.y) / (1 - np.diag(hat))
        if best is None or np.mean(left_out**2) < best[0]:
            best = np.mean(left_out**2), hat @ learn.y
    np.testing.assert_allclose(pred.scale_per_draw[0], math.sqrt(best[0]))
    np.testing.assert_allclose(pred.mean, best[1][:4])


def test_the_setting_with_the_least_loss_is_fitted_to_all_and_scored_once():
    table = data.made_up(0)
    split = table.split(0)
    calls = []

    def fit(tasks, effort):
        calls.append(tasks)
        return [
            sbn.RegressionPredictions(np.full((1, len(task.x)), task.options["at"]), 1.0)
            for task in tasks
        ]

    method = methods.Method(fit)
    at = float(split.choose.y.mean())
    settings = [{"at": at - 5}, {"at": at}, {"at": at + 5}]
    (record,) = tabular.fitted(method, table, [split], Effort(), settings)
    assert [len(tasks) for tasks in calls] == [3, 1]
    assert all(task.learn is split.learn and task.x is split.choose.x for task in calls[0])
    assert calls[1][0].learn is split.train
    assert calls[1][0].options == settings[1]
    errors = split.test.y - at
    assert record["rmse"] == pytest.approx(math.sqrt(np.mean(errors**2)))
    wanted = -0.5 * math.log(2 * math.pi) - np.mean(errors**2) / 2
    assert record["log-likelihood"] == pytest.approx(wanted)
    assert record["coverage"] == pytest.approx(np.mean(np.abs(errors) <= 1.6448536269514722))
    assert len(record["choosing"]) == 3


def test_splits_that_choose_together_have_one_setting_and_choose_once():
    table = data.made_up(0)
    calls = []

    def fit(tasks, effort):
        calls.append(tasks)
        return [
            sbn.RegressionPredictions(np.full((1, len(task.x)), task.options["at"]), 1.0)
            for task in tasks
        ]

    method = methods.Method(fit, at_once=3, together=3)
    method.regression[:] = [{"at": -50.0}, {"at": 14.0}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tabular, "METHODS", {"constant": method})
        results = {}
        efforts = {"": Effort()}
        tabular.study([table], results, efforts=efforts, splits=4, save=lambda: None)
    assert [len(tasks) for tasks in calls] == [2, 3, 2, 1]
    assert calls[0][0].learn.x.tolist() == table.split(2, 3).learn.x.tolist()
    records = results["made up"]["constant"]
    assert list(records) == ["0", "1", "2", "3"]
    assert {record["setting"] for record in records.values()} == {"at 14"}
    assert records["0"]["choosing"] == records["2"]["choosing"] != records["3"]["choosing"]
