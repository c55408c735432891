"""The study of calibration: float networks side by side, their losses, masks and priors."""

import math

import numpy as np
import pytest
import torch

from studies.calibration.data import Rows
from studies.calibration.floats import LEAST_SIGMA, Networks, Training
from tests.studies.calibration_rows import line

pytestmark = pytest.mark.usefixtures("single_precision")


def networks(outputs=2, classes=0, dropout=(0.0, 0.0), **training):
    sets = [line(seed=0), line(seed=1)]
    if classes:
        sets = [Rows(rows.x, (rows.x[:, 0] > 3).astype(int)) for rows in sets]
    return Networks(
        sets,
        outputs,
        Training((4,), **training),
        decay=[0.0, 0.0],
        dropout=dropout,
        classes=classes,
        seed=0,
    )


def test_losses_are_those_of_each_network_by_hand():
    nets = networks()
    x = nets.x[:, :5]
    outputs = nets.forward(x)
    for m in range(2):
        h = (x[m] @ nets.weights[0][m] + nets.biases[0][m]).relu()
        torch.testing.assert_close(outputs[m], h @ nets.weights[1][m] + nets.biases[1][m])
        sigma = (1 + outputs[m, :, 1].exp()).log() + LEAST_SIGMA
        law = torch.distributions.Normal(outputs[m, :, 0], sigma)
        wanted = -law.log_prob(nets.y[m, :5]).mean() - 0.5 * math.log(2 * math.pi)
        torch.testing.assert_close(nets.losses(outputs, nets.y[:, :5])[m], wanted)
    labels = networks(classes=3, outputs=3)
    outputs = labels.forward(labels.x)
    wanted = torch.nn.functional.cross_entropy(outputs[1], labels.y[1])
    torch.testing.assert_close(labels.losses(outputs, labels.y)[1], wanted)


def test_masks_keep_the_mean_of_a_unit_and_only_where_there_is_dropout():
    nets = networks(outputs=1, dropout=(0.0, 0.5))
    x = np.ones((1, 2))
    draws = np.stack([nets.predict(x)[0][:, 0] for _ in range(4000)])
    still = networks(outputs=1).predict(x)[0][:, 0]
    np.testing.assert_allclose(draws[:, 0], still[0], rtol=1e-6)
    assert draws[:, 1].std() > 0.05
    error = draws[:, 1].std() / math.sqrt(len(draws))
    assert abs(draws[:, 1].mean() - still[1]) < 5 * error  # false alarms: 6e-7


def test_training_learns_each_set_and_a_strong_prior_stops_it():
    nets = networks(steps=300, batch_size=30)
    assert nets.training.steps == 300
    before = nets.losses(nets.forward(nets.x), nets.y).tolist()
    nets.train()
    after = nets.losses(nets.forward(nets.x), nets.y).tolist()
    assert max(after) < min(before)
    held = networks(steps=300, batch_size=30, rate=0.05)
    held.decay = torch.full((2,), 1e8)
    held.train()
    free, shrunk = (float(own.weights[0].detach().square().sum()) for own in (nets, held))
    assert shrunk < 0.1 * free
