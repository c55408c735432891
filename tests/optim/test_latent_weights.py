"""Latent weights: torch's rules and a clip, and the projected gradient they are under one law."""

import copy

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.dual import register_leaf
from bayes_sbn.optim.latent_weights import LatentWeights
from bayes_sbn.optim.mirror_descent import MirrorDescent
from tests.chance import numpy_generator

GENERATOR = numpy_generator("latent weights")
START, GRADIENTS = GENERATOR.uniform(-1, 1, 30), GENERATOR.normal(0, 1, (50, 30))


def stepped(rule_of, start=START, gradients=GRADIENTS):
    leaf = torch.nn.Parameter(torch.tensor(start))
    rule, path = rule_of(leaf), []
    for gradient in gradients:
        leaf.grad = torch.tensor(gradient)
        rule.step()
        path.append(leaf.detach().numpy().copy())
    return np.array(path)


def binary_connect(clip, lr=0.1):
    """Algorithm 1 of BinaryConnect: the gradient in the binary weight steps the real one."""
    v, path = START.copy(), []
    for gradient in GRADIENTS:
        v = np.clip(v - lr * gradient, -clip, clip)
        path.append(v)
    return np.array(path)


@pytest.mark.parametrize("clip", [1.0, 0.3, None])
def test_plain_steps_are_those_of_binary_connect(clip):
    found = stepped(lambda v: LatentWeights([v], 0.1, rule=("SGD", {}), clip=clip))
    wanted = binary_connect(np.inf if clip is None else clip)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("name", "options"), [("Adam", {"lr": 0.2}), ("RMSprop", {"lr": 0.1})])
def test_other_rules_are_torchs_own_with_the_latent_clipped_after_each_step(name, options):
    leaf = torch.nn.Parameter(torch.tensor(START))
    rule, wanted = getattr(torch.optim, name)([leaf], **options), []
    for gradient in GRADIENTS:
        leaf.grad = torch.tensor(gradient)
        rule.step()
        leaf.data.clamp_(-0.7, 0.7)
        wanted.append(leaf.detach().numpy().copy())
    found = stepped(lambda v: LatentWeights([v], rule=(name, options), clip=0.7))
    np.testing.assert_array_equal(found, wanted)
    assert (np.abs(found) == 0.7).any()


def test_under_uniform_noise_they_are_the_projected_gradient():
    latent = stepped(lambda v: LatentWeights([v], 0.1, rule=("SGD", {}), clip=1.0))
    mirror = stepped(lambda v: MirrorDescent([v], 0.1, adaptive=False, noise="uniform"))
    np.testing.assert_allclose(latent, mirror, rtol=0, atol=1e-14)
    lazy = stepped(
        lambda v: MirrorDescent([v], 0.1, adaptive=False, noise="uniform", clipping="lazy")
    )
    unclipped = stepped(lambda v: LatentWeights([v], 0.1, rule=("SGD", {}), clip=None))
    np.testing.assert_allclose(unclipped, lazy, rtol=0, atol=1e-14)
    assert np.abs(latent - lazy).max() > 0.1


def test_latents_that_have_saturated_come_back_as_a_mask_on_the_gradient_would_not_let_them():
    gradients = np.array([[-0.2]] * 30 + [[0.2]] * 10)
    start = np.zeros(1)
    agile = stepped(lambda v: LatentWeights([v], 1.0, rule=("SGD", {})), start, gradients)
    assert agile[29] == 1.0
    assert agile[-1] == pytest.approx(-1.0)
    masked = 0.0  # the mask without the clip, which is not offered
    for (gradient,) in gradients:
        masked -= gradient * (abs(masked) <= 1)
    assert masked > 1


def test_signs_do_not_know_the_scale_of_their_latents():
    def signs(scale):
        path = stepped(
            lambda v: LatentWeights([v], 0.125 * scale, rule=("SGD", {}), clip=None), START * scale
        )
        return path >= 0

    np.testing.assert_array_equal(signs(1.0), signs(4.0))
    clipped = stepped(lambda v: LatentWeights([v], 0.5, rule=("SGD", {})), 4 * START)
    assert ((clipped >= 0) != signs(1.0)).any()  # a clip gives the scale a meaning


def test_torchs_schedules_and_states_reach_the_rule():
    def half(leaf):
        rule = LatentWeights([leaf], rule=("Adam", {"lr": 0.1}), clip=None)
        return rule, torch.optim.lr_scheduler.ExponentialLR(rule, gamma=0.5)

    leaf = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    rule, schedule = half(leaf)
    for _ in range(2):
        leaf.grad = torch.ones(2, dtype=torch.float64)
        rule.step()
        schedule.step()
    assert leaf.tolist() == pytest.approx([-0.15, -0.15])
    other = torch.nn.Parameter(leaf.detach().clone())
    fresh, _ = half(other)
    fresh.load_state_dict(copy.deepcopy(rule.state_dict()))
    for parameter, each in ((leaf, rule), (other, fresh)):
        parameter.grad = torch.tensor([0.3, -2.0], dtype=torch.float64)
        each.step()
    assert torch.equal(leaf, other)
    assert fresh.state[other]["step"] == 3


def test_a_copy_steps_its_own_latents():
    leaf = torch.nn.Parameter(torch.zeros(2))
    rule = LatentWeights([leaf], rule=("Adam", {"lr": 0.1}))
    leaf.grad = torch.ones(2)
    rule.step()
    other = copy.deepcopy(rule)
    (copied,) = other.param_groups[0]["params"]
    copied.grad = torch.ones(2)
    other.step()
    assert leaf.tolist() == pytest.approx([-0.1, -0.1])
    assert copied.tolist() == pytest.approx([-0.2, -0.2])


def test_latents_of_another_law_are_refused():
    leaf = torch.nn.Parameter(torch.zeros(2))
    register_leaf(leaf, "posterior.w", is_dual=True)
    leaf.grad = torch.ones(2)
    optim = sbn.optim.LatentWeights({"lr": 0.1})
    with pytest.raises(RuntimeError, match=r'"posterior.w" are quantiles of Logistic.*AutoSignD'):
        optim([leaf])
    assert leaf.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"clip": 0.0}, ValueError, r"LatentWeights\(clip=0.0\)"),
        ({"rule": "Adam"}, TypeError, r'write "rule": \("Adam"'),
        ({"rule": ("Adma", {})}, ValueError, r"'Adma', ...\)}\): it is one of .*Adam"),
        ({"rule": ("LBFGS", {})}, ValueError, r"'LBFGS', ...\)}\): it is one of"),
        ({"rule": ("Adam", {"speed": 1})}, TypeError, r"'Adam', {'speed': 1}\)\): .*speed"),
        ({"lr": 0.1, "rule": ("Adam", {"lr": 0.2})}, ValueError, "given twice"),
        ({"binarise": "sign"}, TypeError, r"The options are lr, rule, clip, and real"),
    ],
)
def test_options_that_make_no_rule_are_errors(options, error, words):
    with pytest.raises(error, match=words):
        sbn.optim.LatentWeights(options)
