"""The study of calibration: codes of the inputs, by hand, and the look at the rows that choose."""

import json

import numpy as np
import pytest

from studies.calibration import binary, codes, data, inputs, tables
from studies.calibration.tasks import Effort, Task
from tests.studies.calibration_rows import line

pytestmark = pytest.mark.usefixtures("single_precision")


def test_a_repeated_input_stands_so_many_times():
    x = line(5).x
    wide = codes.repeated(3)(x)(x[:2])
    assert wide.shape == (2, 6)
    for copy in range(3):
        assert np.array_equal(wide[:, 2 * copy : 2 * copy + 2], x[:2])


def test_a_thermometer_is_of_the_quantiles_of_what_is_learned():
    learned = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 5.0], [3.0, 5.0], [4.0, 5.0]])
    code = codes.thermometer(2)(learned)  # quantiles 1/4 and 3/4: 1 and 3; 1 and 5
    wanted = [[-1, -1, -1, -1], [1, -1, 1, -1], [1, 1, 1, 1]]
    assert code(np.array([[1.0, 1.0], [3.0, 5.0], [3.5, 6.0]])).tolist() == wanted
    constant = codes.thermometer(4)(np.ones((5, 1)))
    assert constant(np.array([[1.0], [2.0]])).tolist() == [[-1.0], [1.0]]


def test_what_a_network_learns_is_scaled_and_then_coded():
    rows = line(50)
    given = binary.Standardised(Task(rows, rows.x[:3], 0, {}, 0), codes.repeated(2))
    scaled = (rows.x - rows.x.mean(0)) / rows.x.std(0)
    np.testing.assert_allclose(given.x, np.concatenate([scaled, scaled], 1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(given.inputs(rows.x[:3]), given.x[:3], rtol=1e-5, atol=1e-6)


def test_each_way_is_fitted_to_rows_that_learn_and_scored_by_those_that_choose(
    tmp_path, monkeypatch
):
    table, kept, seen = data.made_up(0), {}, []

    def twice(learned):
        seen.append(learned)
        return codes.repeated(2)(learned)

    ways = {"twice": {"code": twice}, "real": {"real": ("first",)}}
    monkeypatch.setattr(inputs, "WAYS", ways)
    setting, effort = {**inputs.SETTING, "width": 8}, Effort(steps=3, batch_size=64, draws=4)
    for _ in range(2):  # the second time nothing is made again
        inputs.look([table], kept, splits=2, effort=effort, setting=setting, save=lambda: None)
    made = {name: list(each) for name, each in kept["made up"].items()}
    assert made == {"twice": ["0", "5"], "real": ["0", "5"]}
    splits = [table.split(number, inputs.TOGETHER) for number in (0, 5)]
    assert [x.shape for x in seen] == [split.learn.x.shape for split in splits]
    task = Task(splits[0].learn, splits[0].choose.x, 0, setting, 1000)
    pred = binary.alone(task, effort, code=codes.repeated(2))
    own = kept["made up"]["twice"]
    wanted = np.mean(pred.log_prob(splits[0].choose.y))
    assert own["0"]["log-likelihood"] == pytest.approx(wanted)
    (tmp_path / inputs.FILE).write_text(json.dumps(kept))
    text = tables.tables(tmp_path)
    both = [record["log-likelihood"] for record in own.values()]
    cell = f"{np.mean(both):.3f} ± {abs(both[0] - both[1]) / 2:.3f}"
    assert "| data set | twice | real | splits |" in text
    assert f"| made up | {cell} |" in text
