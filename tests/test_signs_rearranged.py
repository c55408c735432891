"""Rearranged draws: still ±1, still flipped; other tensors are moved about and nothing else."""

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.affines import MeanSign
from bayes_sbn.noise import get_noise
from bayes_sbn.signs import FlipRule, open_sign, sign_tag, tag_sign
from tests.oracle_flips import literal_differences

FLIP = FlipRule(real_inputs="exact")

REARRANGEMENTS = {
    "flatten": (lambda x: sbn.flatten(x, 3), lambda x: x.flatten(-3)),
    "flatten_two": (lambda x: sbn.flatten(x, 2), lambda x: x.reshape(*x.shape[:-2], 12)),
    "reshape": (
        lambda x: sbn.reshape(x, 3, (6, 4)),
        lambda x: x.reshape(*x.shape[:-3], 6, 4),
    ),
    "permute": (
        lambda x: sbn.permute(x, (1, 2, 0)),
        lambda x: x.movedim(-3, -1),
    ),
    "permute_and_flatten": (
        lambda x: sbn.flatten(sbn.permute(x, (2, 0, 1)), 3),
        lambda x: x.movedim(-1, -3).flatten(-3),
    ),
}

every_rearrangement = pytest.mark.parametrize("name", REARRANGEMENTS)


def draw(rule: FlipRule | None, batch: tuple[int, ...] = (5,)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    signs = torch.where(torch.rand(*batch, 2, 3, 4, generator=generator) < 0.5, -1.0, 1.0)
    leaf = signs.requires_grad_()
    return tag_sign(leaf * 1.0, "h", rule), leaf


@pytest.mark.parametrize("batch", [(), (5,), (2, 5), (0,)])
@every_rearrangement
def test_rearrangement_is_that_of_torch(name, batch):
    ours, plain = REARRANGEMENTS[name]
    x = torch.arange(24.0).expand(*batch, 24).reshape(*batch, 2, 3, 4)
    assert torch.equal(ours(x), plain(x))
    assert sign_tag(ours(x)) is None


@pytest.mark.parametrize("rule", [FLIP, None])
@every_rearrangement
def test_rearranged_draw_keeps_its_tag_and_its_open_tensor(name, rule):
    ours, plain = REARRANGEMENTS[name]
    h, leaf = draw(rule)
    moved = ours(h)
    tag = sign_tag(moved)
    assert (tag.site, tag.flip) == ("h", rule)
    assert torch.equal(moved, plain(leaf))
    g = torch.randn(moved.shape)
    (g * open_sign(moved)).sum().backward()
    wanted = torch.autograd.grad((g * plain(leaf)).sum(), leaf)
    assert torch.equal(leaf.grad, *wanted)


@every_rearrangement
def test_rearranged_draw_is_closed_to_what_does_not_know_flips(name):
    moved = REARRANGEMENTS[name][0](draw(FLIP)[0])
    with pytest.raises(RuntimeError, match=r'site "h" is differentiated by exact flips'):
        (2 * moved).sum().backward()


@every_rearrangement
def test_draw_without_gradient_stays_a_draw(name):
    moved = REARRANGEMENTS[name][0](tag_sign(draw(FLIP)[1].detach(), "h", FLIP))
    assert sign_tag(moved).flip is FLIP
    assert not moved.requires_grad


@pytest.mark.parametrize("w_is_sign", [True, False])
@pytest.mark.parametrize("name", ["flatten", "permute_and_flatten"])
def test_flips_of_a_rearranged_draw_equal_literal_flips(name, w_is_sign):
    ours, plain = REARRANGEMENTS[name]
    h, leaf = draw(FLIP)
    w = torch.randn(3, 24)
    w = tag_sign(w.sign(), "w", None) if w_is_sign else w
    law = get_noise("gaussian")
    g = torch.randn(5, 3)
    (g * sbn.affine(ours(h), w, scale=0.2).through(MeanSign(law))).sum().backward()

    def objective(x):
        a = 0.2 * plain(torch.tensor(x)) @ w.mT
        return (g * law.mean_sign(a)).sum().numpy()

    literal = 0.5 * literal_differences(objective, leaf.detach().numpy())
    np.testing.assert_allclose(leaf.grad.numpy(), literal, rtol=0, atol=1e-12)


def test_wrong_arguments_are_refused():
    x = torch.ones(5, 2, 3)
    with pytest.raises(TypeError, match=r"flatten\(x, 2\): x is a list; it must be a torch.Tensor"):
        sbn.flatten(x.tolist(), 2)
    for number in (0, -1, True, 1.0):
        with pytest.raises(ValueError, match=r"number of dims at the end, at least 1. Write fl"):
            sbn.flatten(x, number)
    with pytest.raises(ValueError, match=r"flatten\(x, 4\): x has shape \(5, 2, 3\), which has no"):
        sbn.flatten(x, 4)
    for shape in ((7,), (-1, 2), (3,)):
        with pytest.raises(ValueError, match=r"the last 2 dims are \(2, 3\), 6 entries; the new"):
            sbn.reshape(x, 2, shape)
    for order in ((0, 0), (1, 2), (-1, 0)):
        with pytest.raises(ValueError, match=r"the order must name each of the last 2 dims once"):
            sbn.permute(x, order)
