"""The study of calibration: binary networks side by side are those of the package, one by one."""

import numpy as np
import pytest
import torch
from pyro import poutine

import bayes_sbn as sbn
from studies.calibration import binary
from studies.calibration.data import Rows
from studies.calibration.tasks import Effort, Task


@pytest.fixture(autouse=True)
def single_precision():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    yield
    torch.set_default_dtype(before)


def rows_of(seed):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(20, 2)) * [2.0, 5.0] + [3.0, -1.0]
    return Rows(x, 10 + 4 * x[:, 0] - x[:, 1] + 0.5 * generator.normal(size=20))


RATES = {"lr": 0.2, "real_lr": 0.1, "factor": 0.1}


def binary_tasks(classes):
    tasks = []
    for seed in range(2):
        rows = rows_of(seed)
        if classes:
            rows = Rows(rows.x, np.arange(20) % classes)
        options = {"layers": 2, "width": 3, **RATES}
        tasks.append(Task(rows, rows.x, classes, options, seed))
    return tasks


@pytest.mark.parametrize("classes", [0, 3])
def test_networks_side_by_side_are_those_of_the_package(classes):
    """The joint density of all is the product of that of each, at the same draws."""
    tasks = binary_tasks(classes)
    sets = [binary.Standardised(task) for task in tasks]
    pairs = [binary.network(task, 2) for task in tasks]
    model = binary.SideBySide(pairs)
    x, y = next(iter(binary.Batches(sets, 8, seed=0)))
    whole = poutine.trace(model).get_trace(x, y)
    values = {name: site["value"] for name, site in whole.nodes.items() if name[0] in "wx"}
    names = {"w0": "hidden.0.weight", "w1": "hidden.1.weight", "w2": "output.weight"}
    total = 0.0
    for m, (network, _) in enumerate(pairs):
        given = {names.get(name, name): value[m] for name, value in values.items()}
        alone = poutine.condition(network, data=given)
        total += poutine.trace(alone).get_trace(x[:, m], y[:, m]).log_prob_sum().item()
    assert whole.log_prob_sum().item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("classes", [0, 3])
def test_side_by_side_begins_with_the_networks_and_puts_back_what_it_learned(classes):
    tasks = binary_tasks(classes)
    sets = [binary.Standardised(task) for task in tasks]
    pairs = [binary.network(task, 2) for task in tasks]
    model = binary.SideBySide(pairs)
    batches = binary.Batches(sets, 8, seed=0)
    guide = sbn.guides.AutoSignBernoulli(model, example=next(iter(batches)))
    model.begin(guide)
    before = [pairs[1][1].leaf("hidden.1.weight").clone(), pairs[1][0].hidden[0].bias.clone()]
    assert torch.equal(guide.leaf("w1")[1], before[0])
    sbn.fit(model, guide, batches, estimator="st", temperature=0.1, epochs=3, progress=False)
    model.put_back(guide)
    for m, (network, own) in enumerate(pairs):
        assert torch.equal(own.leaf("hidden.1.weight"), guide.leaf("w1")[m])
        assert torch.equal(own.leaf("output.weight"), guide.leaf("w2")[m])
        torch.testing.assert_close(network.hidden[0].bias, model.bias0[m, 0])
        torch.testing.assert_close(network.output.scale, model.scale2[m, 0])
        if not classes:
            torch.testing.assert_close(network.sigma, model.sigma[m, 0])
    assert not torch.equal(pairs[1][1].leaf("hidden.1.weight"), before[0])
    assert not torch.equal(pairs[1][0].hidden[0].bias, before[1])


def test_each_network_sees_each_of_its_rows_once():
    sets = [binary.Standardised(task) for task in binary_tasks(0)]
    batches = binary.Batches(sets, 8, seed=0)
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert len(batches) == 3
    for m, own in enumerate(sets):
        order = y[:, m].argsort()
        assert torch.equal(y[order, m], own.y.sort().values)
        assert torch.equal(x[order, m], own.x[own.y.argsort()])
    assert not torch.equal(y[:, 0].argsort(), y[:, 1].argsort())


def test_tasks_of_several_settings_come_back_in_their_order():
    tasks = binary_tasks(0)
    other = [Task(t.learn, t.x[:7], 0, {**t.options, "width": 4}, t.seed) for t in tasks]
    effort = Effort(steps=4, batch_size=10, draws=5)
    mixed = [tasks[0], other[0], tasks[1], other[1]]
    found = binary.side_by_side(mixed, effort)
    assert [pred.shape for pred in found] == [(5, 20), (5, 7), (5, 20), (5, 7)]
    again = binary.side_by_side(tasks, effort)
    np.testing.assert_array_equal(found[2].mean, again[1].mean)
