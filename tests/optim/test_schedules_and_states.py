"""Step sizes that change, and states that continue a run: of the torch rule and of the Pyro one."""

import copy

import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.dual import register_leaf
from bayes_sbn.optim.mirror_descent import MirrorDescent
from tests.chance import numpy_generator

RULES = [{"adaptive": True}, {"adaptive": False}, {"adaptive": False, "momentum": 0.8}]
GRADIENTS = torch.tensor(numpy_generator("gradients of a schedule").normal(0, 1, (8, 3)))


def pair_of_leaves():
    """A ±1 weight and a real parameter, registered under paths."""
    leaves = [torch.nn.Parameter(torch.zeros(3)) for _ in range(2)]
    register_leaf(leaves[0], "posterior.w", is_dual=True)
    register_leaf(leaves[1], "scale", is_dual=False)
    return leaves


def run(optim, leaves, steps):
    for step in steps:
        for leaf in leaves:
            leaf.grad = GRADIENTS[step].clone()
        optim(leaves)


@pytest.mark.parametrize("options", RULES)
def test_a_torch_schedule_and_scale_lr_are_the_same_steps(options):
    plain = torch.nn.Parameter(torch.zeros(3))
    rule = MirrorDescent([plain], lr=0.2, **options)
    schedule = torch.optim.lr_scheduler.ExponentialLR(rule, gamma=0.7)
    leaves = pair_of_leaves()
    optim = sbn.optim.MirrorDescent({"lr": 0.2, **options, "real": ("SGD", {"lr": 1.0})})
    for step, gradient in enumerate(GRADIENTS):
        plain.grad = gradient.clone()
        rule.step()
        schedule.step()
        optim.scale_lr(0.7**step)
        run(optim, leaves, [step])
    assert torch.allclose(plain, leaves[0], atol=1e-12)
    decayed = (0.7 ** torch.arange(8.0)[:, None] * GRADIENTS).sum(0)
    assert torch.allclose(leaves[1], -decayed, atol=1e-12)


def test_a_factor_holds_for_parameters_that_appear_later():
    first, second = pair_of_leaves()
    optim = sbn.optim.MirrorDescent({"lr": 1.0, "adaptive": False, "real": ("SGD", {"lr": 1.0})})
    optim.scale_lr(0.5)
    for leaf in (first, second):
        run(optim, [leaf], [0])
        assert torch.allclose(leaf, -0.5 * GRADIENTS[0])
    optim.scale_lr(1.0)
    run(optim, [first], [1])
    assert torch.allclose(first, -0.5 * GRADIENTS[0] - GRADIENTS[1])


@pytest.mark.parametrize("factor", [-0.1, float("nan"), float("inf")])
def test_a_factor_that_is_no_factor_is_an_error(factor):
    with pytest.raises(ValueError, match="a number of at least 0"):
        sbn.optim.MirrorDescent({"lr": 0.1}).scale_lr(factor)


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("options", RULES)
def test_a_run_continues_from_its_state_by_path(options, early):
    # a fresh process: other tensors of the same paths, whose state comes before or after a step
    arguments = {"lr": 0.2, **options, "real": ("Adam", {"lr": 0.1})}
    whole, leaves = sbn.optim.MirrorDescent(arguments), pair_of_leaves()
    run(whole, leaves, range(4))
    whole.scale_lr(0.3)
    state = copy.deepcopy(whole.get_state())
    assert set(state) == {"posterior.w", "scale"}
    values = [leaf.detach().clone() for leaf in leaves]
    run(whole, leaves, range(4, 8))

    other, fresh = sbn.optim.MirrorDescent(arguments), pair_of_leaves()
    if not early:
        run(other, fresh, [7])
    other.set_state(state)
    for leaf, value in zip(fresh, values, strict=True):
        leaf.data.copy_(value)
    run(other, fresh, range(4, 8))
    for found, wanted in zip(fresh, leaves, strict=True):
        assert torch.equal(found, wanted)
    assert str(other.get_state()) == str(whole.get_state())


def test_without_its_state_a_momentum_run_does_not_continue():
    arguments = {"lr": 0.2, "adaptive": False, "momentum": 0.8}
    whole, leaves = sbn.optim.MirrorDescent(arguments), pair_of_leaves()
    run(whole, leaves, range(4))
    fresh = pair_of_leaves()
    fresh[0].data.copy_(leaves[0])
    run(whole, leaves, [4])
    run(sbn.optim.MirrorDescent(arguments), fresh, [4])
    assert not torch.allclose(fresh[0], leaves[0], atol=1e-3)


def test_states_saved_before_momentum_existed_load():
    leaf = torch.nn.Parameter(torch.zeros(3))
    rule = MirrorDescent([leaf], lr=0.2, adaptive=False)
    state = rule.state_dict()
    del state["param_groups"][0]["momentum"]
    rule.load_state_dict(state)
    leaf.grad = GRADIENTS[0].clone()
    rule.step()
    assert torch.allclose(leaf, -0.2 * GRADIENTS[0])
