"""Bop against a literal transcription, its conventions, and what it is invariant to."""

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.dual import register_leaf
from bayes_sbn.optim.bop import Bop
from tests.chance import numpy_generator


def transcribed(weights, gradients, gamma, threshold):
    """Algorithm 1 of the paper, entry by entry."""
    w, m, path = weights.copy(), np.zeros_like(weights), []
    for gradient in gradients:
        for i in range(len(w)):
            m[i] = (1 - gamma) * m[i] + gamma * gradient[i]
            if abs(m[i]) > threshold and np.sign(m[i]) == np.sign(w[i]):
                w[i] = -w[i]
        path.append(w.copy())
    return np.array(path)


def stepped(start, gradients, **options):
    leaf = torch.nn.Parameter(torch.tensor(start))
    rule, path = Bop([leaf], **options), []
    for gradient in gradients:
        leaf.grad = torch.tensor(gradient)
        rule.step()
        path.append(leaf.detach().numpy().copy())
    return np.array(path)


def cases():
    generator = numpy_generator("bop")
    return generator.normal(0, 1, 40), generator.normal(0.1, 1, (60, 40))


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.3])
def test_weights_follow_the_paper(threshold):
    start, gradients = cases()
    found = stepped(start, gradients, lr=0.1, threshold=threshold)
    wanted = transcribed(np.where(start >= 0, 1.0, -1.0), gradients, 0.1, threshold)
    np.testing.assert_array_equal(found, wanted)
    assert len(np.unique(wanted, axis=0)) > 3  # weights did move


def test_leaves_hold_the_weights_from_the_first_step_on_zero_included():
    leaf = torch.nn.Parameter(torch.tensor([0.0, -0.0, -3.0, 0.2]))
    rule = Bop([leaf], lr=1.0, threshold=0.5)
    leaf.grad = torch.tensor([1.0, 0.1, 1.0, -1.0])
    rule.step()
    assert leaf.tolist() == [-1.0, 1.0, -1.0, 1.0]


def test_a_weight_stays_at_equality():
    leaf = torch.nn.Parameter(torch.tensor([1.0, -1.0, 1.0]))
    rule = Bop([leaf], lr=1.0, threshold=0.5)
    leaf.grad = torch.tensor([0.5, -0.5, np.nextafter(0.5, 1.0, dtype=np.float32)])
    rule.step()
    assert leaf.tolist() == [1.0, -1.0, -1.0]


def test_gradients_and_threshold_may_be_scaled_together():
    start, gradients = cases()
    found = stepped(start, gradients, lr=0.1, threshold=0.05)
    scaled = stepped(start, 1024 * gradients, lr=0.1, threshold=1024 * 0.05)
    np.testing.assert_array_equal(found, scaled)
    assert (found != stepped(start, 1024 * gradients, lr=0.1, threshold=0.05)).any()


def test_schedules_scale_gamma_and_the_threshold_has_its_own():
    leaf = torch.nn.Parameter(torch.tensor([1.0, 1.0]))
    register_leaf(leaf, "posterior.w", is_dual=True, is_point=True)
    optim = sbn.optim.Bop({"lr": 0.5, "threshold": 0.3})
    optim.set_threshold(0.2)
    optim.scale_lr(0.5)
    leaf.grad = torch.tensor([1.0, 0.7])
    optim([leaf])
    assert leaf.tolist() == [-1.0, 1.0]  # averages 0.25 and 0.175, threshold 0.2
    optim.set_threshold(0.1)
    leaf.grad = torch.tensor([0.25, 0.175])
    optim([leaf])
    assert leaf.tolist() == [-1.0, -1.0]
    group = optim.get_state()["posterior.w"]["param_groups"][0]
    assert (group["lr"], group["threshold"]) == (0.25, 0.1)
    # the options that tell one fit from another are those that were written
    assert optim.dual_args == {"lr": 0.5, "threshold": 0.3}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sbn.optim.Bop({"lr": 1.5}), r"Bop\(lr=1.5\): gamma"),
        (lambda: sbn.optim.Bop({"threshold": -1.0}), r"Bop\(threshold=-1.0\)"),
        (lambda: sbn.optim.Bop({}).set_threshold(float("nan")), r"Bop\(threshold=nan\)"),
    ],
)
def test_options_that_make_no_rule_are_errors(make, words):
    with pytest.raises(ValueError, match=words):
        make()
