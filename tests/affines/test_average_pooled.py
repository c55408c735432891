"""Averages of ±1 draws: what follows them flips the bits, each as literally evaluated."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import bayes_sbn as sbn
from bayes_sbn.affines import (
    MeanSign,
    affine,
    affine_conv1d,
    affine_conv2d,
    convolution_flips,
    flips,
    identity,
)
from bayes_sbn.noise import get_noise
from bayes_sbn.signs import FlipRule, sign_tag, tag_sign
from tests.affines.literal_sum import Draws, Structured, convolved, dense

every_weight = pytest.mark.parametrize("w_is_sign", [True, False])
with_particles = pytest.mark.parametrize("particles", [(), (3,)])


def averaged(x, kernel, stride=None):
    """By torch, whatever the batch dims."""
    space = x.shape[-2:]
    flat = functional.avg_pool2d(x.reshape(-1, 1, *space), kernel, stride)
    return flat.reshape(*x.shape[:-2], *flat.shape[-2:])


def case_of(child: str, w_is_sign: bool = True, particles: tuple[int, ...] = ()) -> Structured:
    draw = Draws(3)
    lead = (*particles, 1) if particles else ()
    weights = draw.signs if w_is_sign else draw.normal
    h = draw.signs(*particles, 2, 2, 4, 6)
    s = 0.4 + 0.2 * draw.normal(3)
    names = ("h", "w") if w_is_sign else ("h",)
    if child == "dense":
        return Structured(
            lambda h, w, s: affine(sbn.flatten(sbn.average_pool2d(h, 2), 3), w, scale=s),
            lambda h, w, s: s * dense(averaged(h, 2).flatten(-3), w),
            {"h": h, "w": weights(*lead, 3, 12), "s": s},
            names,
        )
    if child == "permuted":
        return Structured(
            lambda h, w: affine(
                sbn.flatten(sbn.permute(sbn.average_pool2d(h, (4, 2)), (2, 0, 1)), 3), w
            ),
            lambda h, w: dense(averaged(h, (4, 2)).movedim(-1, -3).flatten(-3), w),
            {"h": h, "w": weights(*lead, 3, 6)},
            names,
        )
    if child == "gaps":  # a window of 2 x 1 in every 2 x 2, and a column left over
        return Structured(
            lambda h, w: affine_conv2d(sbn.average_pool2d(h, (2, 1), (2, 2)), w, scale=0.4),
            lambda h, w: 0.4 * convolved(averaged(h, (2, 1), (2, 2)), w),
            {"h": h, "w": weights(*lead, 3, 2, 2, 2)},
            names,
        )
    if child == "convolution":
        return Structured(
            lambda h, w, s: affine_conv2d(sbn.average_pool2d(h, 2), w, scale=s, padding=1),
            lambda h, w, s: s[:, None, None] * convolved(averaged(h, 2), w, padding=1),
            {"h": h, "w": weights(*lead, 3, 2, 3, 3), "s": s},
            names,
        )
    if child == "twice":
        return Structured(
            lambda h, w: affine(
                sbn.flatten(sbn.average_pool2d(sbn.average_pool2d(h, 2), (2, 1)), 3), w
            ),
            lambda h, w: dense(averaged(averaged(h, 2), (2, 1)).flatten(-3), w),
            {"h": h, "w": weights(*lead, 3, 6)},
            names,
        )
    if child == "of_max":
        return Structured(
            lambda h, w: affine(
                sbn.flatten(sbn.average_pool2d(sbn.max_pool2d(h, 2), (2, 1)), 3), w
            ),
            lambda h, w: dense(
                averaged(functional.max_pool3d(h, (1, 2, 2)), (2, 1)).flatten(-3), w
            ),
            {"h": h, "w": weights(*lead, 3, 6)},
            names,
        )
    assert child == "skip"
    return Structured(
        lambda h, w, v, h2, s: (
            affine_conv2d(h2, w, scale=s, padding=1)
            + identity(sbn.average_pool2d(h, 2), 3, scale=v)
        ),
        lambda h, w, v, h2, s: (
            s[:, None, None] * convolved(h2, w, padding=1) + v[:, None, None] * averaged(h, 2)
        ),
        {
            "h": h,
            "w": weights(*lead, 2, 1, 3, 3),
            "v": draw.normal(2),
            "h2": draw.signs(2, 1, 2, 3),
            "s": s[:2],
        },
        (*names, "h2"),
    )


CHILDREN = ("dense", "permuted", "gaps", "convolution", "twice", "of_max", "skip")


@with_particles
@every_weight
@pytest.mark.parametrize("child", CHILDREN)
def test_bits_of_an_average_are_flipped_one_by_one(child, w_is_sign, particles):
    case = case_of(child, w_is_sign, particles)
    law = get_noise("gaussian")
    g = torch.randn(case.value().shape)
    pre, leaves = case.tagged()
    torch.testing.assert_close(pre.tensor, case.value(), rtol=0, atol=1e-13)
    (g * pre.through(MeanSign(law))).sum().backward()

    def objective(a):
        return (g * law.mean_sign(a)).sum()

    for name, leaf in leaves.items():
        wanted = (case.literal if name in case.signs else case.derivative)(name, objective)
        assert wanted.abs().max() > 1e-3, name
        torch.testing.assert_close(leaf.grad, wanted, rtol=0, atol=1e-11, msg=name)


@pytest.mark.parametrize("large", [False, True])
@with_particles
@every_weight
def test_categorical_head_on_averages(w_is_sign, particles, large):
    case = case_of("dense", w_is_sign, particles)
    if large:  # steps for which the head evaluates entry by entry
        case.operands["s"] *= 90.0
    labels = torch.tensor([0, 2])
    g = torch.randn(case.value().shape[:-1])

    def likelihood(a):
        log_p = torch.log_softmax(a, -1)
        return (g * log_p.gather(-1, labels.expand(g.shape).unsqueeze(-1)).squeeze(-1)).sum()

    pre, leaves = case.tagged()
    (g * sbn.AffineCategorical(pre).log_prob(labels)).sum().backward()
    for name in case.signs:
        wanted = case.literal(name, likelihood)
        torch.testing.assert_close(leaves[name].grad, wanted, rtol=1e-11, atol=1e-11, msg=name)


def test_line_of_a_single_row():
    draw = Draws()
    h, w = draw.signs(2, 6), draw.signs(3, 2, 2)
    law = get_noise("logistic")
    case = Structured(
        lambda h: affine_conv1d(sbn.average_pool1d(h, 2), w, scale=0.6),
        lambda h: 0.6 * functional.conv1d(functional.avg_pool1d(h, 2), w),
        {"h": h},
        ("h",),
    )
    pre, leaves = case.tagged()
    pre.through(MeanSign(law)).sum().backward()
    wanted = case.literal("h", lambda a: law.mean_sign(a).sum())
    torch.testing.assert_close(leaves["h"].grad, wanted, rtol=0, atol=1e-13)


def test_expanded_affine_of_averages_adds_the_flips_of_its_copies():
    case = case_of("dense")
    law = get_noise("logistic")
    g = torch.randn(5, *case.value().shape)
    pre, leaves = case.tagged()
    (g * pre.expand(torch.Size((5, 2))).through(MeanSign(law))).sum().backward()
    for name in case.signs:
        wanted = case.literal(name, lambda a: (g.sum(0) * law.mean_sign(a)).sum())
        torch.testing.assert_close(leaves[name].grad, wanted, rtol=0, atol=1e-11)


def test_weights_on_averages_take_the_rule_for_real_inputs():
    case = case_of("dense")
    case.operands["s"] *= 0.1
    law = get_noise("logistic")
    found = {}
    for rule in ("exact", "series"):
        pre, leaves = case.tagged(FlipRule(real_inputs=rule))
        pre.through(MeanSign(law)).sum().backward()
        found[rule] = leaves["w"].grad
    distance = (found["series"] - found["exact"]).norm() / found["exact"].norm()
    assert 1e-9 < distance < 1e-2


@pytest.mark.parametrize("kind", ["plain", "derivative", "constant"])
def test_averages_of_what_is_not_flipped_are_those_of_torch(kind):
    x = torch.randn(3, 2, 4, 4).sign().requires_grad_(kind != "constant")
    rule = {"derivative": None, "constant": FlipRule()}
    given = tag_sign(x, "h", rule[kind]) if kind in rule else x
    pooled = sbn.average_pool2d(given, 3, 1)  # windows may overlap
    assert sign_tag(pooled) is None
    torch.testing.assert_close(pooled, functional.avg_pool2d(x, 3, 1))
    if kind != "constant":
        pooled.square().sum().backward()
        wanted = torch.autograd.grad(functional.avg_pool2d(x, 3, 1).square().sum(), x)
        torch.testing.assert_close(x.grad, *wanted)
    if kind == "constant":
        assert not affine(sbn.flatten(pooled, 3), torch.ones(3, 8)).needs_flips


# errors ----------------------------------------------------------------------------------------


def flipped(*shape: int) -> torch.Tensor:
    return tag_sign(torch.ones(*shape, requires_grad=True), "h", FlipRule())


def test_windows_that_overlap_are_refused():
    with pytest.raises(
        ValueError,
        match=r"average_pool2d\(x, kernel_size\): windows of size \(3, 3\) with stride \(2, 2\) "
        r'overlap, so that a bit of site "h" would reach .* Use a stride of at least kernel_size',
    ):
        sbn.average_pool2d(flipped(1, 1, 5, 5), 3, 2)


@pytest.mark.parametrize(
    "operation",
    [
        lambda pooled: pooled * 2,
        lambda pooled: pooled.flatten(1),
        lambda pooled: functional.max_pool2d(pooled, 2),
        lambda pooled: affine(pooled.flatten(1), torch.ones(2, 8)).tensor,
    ],
)
def test_averages_are_closed_to_what_does_not_know_flips(operation):
    pooled = sbn.average_pool2d(flipped(3, 2, 4, 4), 2)
    with pytest.raises(RuntimeError, match=r'site "h" is differentiated by exact flips, but betw'):
        operation(pooled).sum().backward()


def test_averages_are_not_pooled_as_signs():
    h = tag_sign(Draws().signs(3, 2, 4, 4).requires_grad_(), "h", FlipRule())
    with pytest.raises(ValueError, match=r"this pools the ±1 draw of a site"):
        sbn.max_pool2d(sbn.average_pool2d(h, 2), 2)


def test_one_draw_and_its_averages_in_two_terms_are_refused():
    h = flipped(3, 2, 1, 1)
    with pytest.raises(ValueError, match=r'the draw of site "h" is in 2 of the terms'):
        identity(h, 3) + identity(sbn.average_pool2d(h, 1), 3)


def test_value_is_the_average():
    h = flipped(2, 4, 4)
    assert np.allclose(sbn.average_pool2d(h, 2).detach(), 1.0)
    assert sbn.average_pool2d(h, 2).shape == (2, 2, 2)


@pytest.mark.parametrize(
    ("module", "product"), [(flips, "_times_matrix"), (convolution_flips, "_reach")]
)
def test_both_sides_of_an_average_share_their_products(monkeypatch, module, product):
    calls = []
    own = getattr(module, product)
    monkeypatch.setattr(module, product, lambda *given: calls.append(1) or own(*given))
    child = "dense" if module is flips else "convolution"
    pre, leaves = case_of(child).tagged()
    pre.through(MeanSign(get_noise("logistic"))).sum().backward()
    assert len(calls) == 1
    assert leaves["h"].grad.abs().max() > 1e-3
