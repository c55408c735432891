"""Folded normalisation: the value of torch's norm, and flips that stay exact."""

import pytest
import torch
from torch import nn

import bayes_sbn as sbn
from bayes_sbn.affines import MeanSign, affine, affine_conv1d, affine_conv2d, identity
from bayes_sbn.noise import get_noise
from bayes_sbn.signs import FlipRule, tag_sign
from tests.affines.literal_sum import Draws, Structured, convolved, dense


def with_statistics(norm: nn.Module, seed: int = 0) -> nn.Module:
    """A norm in eval mode with statistics, gain and shift of its own."""
    draw = Draws(seed)
    number = norm.num_features
    norm.running_mean.copy_(draw.normal(number))
    norm.running_var.copy_(0.5 + draw.normal(number).square())
    if norm.affine:
        norm.weight.data.copy_(draw.normal(number))
        norm.bias.data.copy_(draw.normal(number))
    return norm.eval()


def cases(w_is_sign: bool) -> dict[str, Structured]:
    draw = Draws(4)
    weights = draw.signs if w_is_sign else draw.normal
    norm = {1: nn.BatchNorm1d(3), 3: nn.BatchNorm2d(2)}
    for one in norm.values():
        with_statistics(one)
        one.requires_grad_(False)

    def scaled(a, s, t):
        return s[:, None, None] * a + t[:, None, None]

    return {
        "dense": Structured(
            lambda h, w, b: sbn.fold_normalisation(affine(h, w, b, scale=0.4), norm[1]),
            lambda h, w, b: norm[1](0.4 * dense(h, w) + b),
            {"h": draw.signs(4, 5), "w": weights(3, 5), "b": draw.normal(3)},
            ("h", "w") if w_is_sign else ("h",),
        ),
        "particles": Structured(
            lambda h, w: sbn.fold_normalisation(affine(h, w, scale=0.4), norm[1]),
            lambda h, w: torch.stack([norm[1](a) for a in 0.4 * dense(h, w)]),
            {"h": draw.signs(3, 4, 5), "w": weights(3, 1, 3, 5)},
            ("h", "w") if w_is_sign else ("h",),
        ),
        "convolution": Structured(
            lambda h, w, s, t: sbn.fold_normalisation(
                affine_conv2d(h, w, t, scale=s, padding=1), norm[3]
            ),
            lambda h, w, s, t: norm[3](scaled(convolved(h, w, padding=1), s, t)),
            {
                "h": draw.signs(2, 1, 3, 4),
                "w": weights(2, 1, 3, 3),
                "s": draw.normal(2),
                "t": draw.normal(2),
            },
            ("h", "w") if w_is_sign else ("h",),
        ),
        "sum": Structured(
            lambda h, w, h1: sbn.fold_normalisation(
                affine_conv2d(h, w, padding=1) + identity(h1, 3, scale=0.5), norm[3]
            ),
            lambda h, w, h1: norm[3](convolved(h, w, padding=1) + 0.5 * h1),
            {"h": draw.signs(2, 1, 3, 4), "w": weights(2, 1, 3, 3), "h1": draw.signs(2, 2, 3, 4)},
            ("h", "h1", "w") if w_is_sign else ("h", "h1"),
        ),
        "sum_of_a_row_and_rows": Structured(
            lambda h, w, h1: sbn.fold_normalisation(affine(h, w) + identity(h1), norm[1]),
            lambda h, w, h1: norm[1](dense(h, w) + h1),
            {"h": draw.signs(1, 5), "w": weights(3, 5), "h1": draw.signs(4, 3)},
            ("h", "h1", "w") if w_is_sign else ("h", "h1"),
        ),
        "averages": Structured(
            lambda h, w: sbn.fold_normalisation(
                affine(sbn.flatten(sbn.average_pool2d(h, 2), 3), w), norm[1]
            ),
            lambda h, w: norm[1](dense(nn.functional.avg_pool2d(h, 2).flatten(1), w)),
            {"h": draw.signs(2, 2, 2, 4), "w": weights(3, 4)},
            ("h", "w") if w_is_sign else ("h",),
        ),
    }


@pytest.mark.parametrize("w_is_sign", [True, False])
@pytest.mark.parametrize("name", cases(True))
def test_normalised_pre_activation_is_that_of_torch_and_flips_exactly(name, w_is_sign):
    case = cases(w_is_sign)[name]
    law = get_noise("gaussian")
    g = torch.randn(case.value().shape)
    pre, leaves = case.tagged()
    torch.testing.assert_close(pre.tensor, case.value(), rtol=0, atol=1e-13)
    (g * pre.through(MeanSign(law))).sum().backward()

    def objective(a):
        return (g * law.mean_sign(a)).sum()

    for operand, leaf in leaves.items():
        wanted = (case.literal if operand in case.signs else case.derivative)(operand, objective)
        assert wanted.abs().max() > 1e-3, operand
        torch.testing.assert_close(leaf.grad, wanted, rtol=0, atol=1e-11, msg=operand)


def test_gain_and_shift_of_a_norm_train():
    norm = with_statistics(nn.BatchNorm1d(3))
    draw = Draws(5)
    h, w = draw.signs(4, 5), draw.signs(3, 5)
    law = get_noise("logistic")
    drawn = tag_sign(h.clone().requires_grad_(), "h", FlipRule())
    sbn.fold_normalisation(affine(drawn, w), norm).through(MeanSign(law)).sum().backward()
    found = norm.weight.grad.clone(), norm.bias.grad.clone()
    norm.zero_grad()
    law.mean_sign(norm(dense(h, w))).sum().backward()
    for ours, wanted in zip(found, (norm.weight.grad, norm.bias.grad), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-13)
        assert wanted.abs().min() > 1e-4


@pytest.mark.parametrize("affine_norm", [True, False])
def test_line_and_norm_without_gain(affine_norm):
    norm = with_statistics(nn.BatchNorm1d(2, affine=affine_norm, eps=0.1))
    x, w = torch.randn(3, 1, 5), torch.randn(2, 1, 2)
    folded = sbn.fold_normalisation(affine_conv1d(x, w), norm)
    torch.testing.assert_close(folded.tensor, norm(nn.functional.conv1d(x, w)))


def test_numbers_are_what_a_norm_would_hold():
    norm = with_statistics(nn.BatchNorm1d(3))
    pre = affine(torch.randn(4, 5), torch.randn(3, 5), scale=torch.randn(3))
    folded = sbn.fold_normalisation(
        pre,
        mean=norm.running_mean,
        variance=norm.running_var,
        gain=norm.weight,
        shift=norm.bias,
        eps=norm.eps,
    )
    torch.testing.assert_close(folded.tensor, norm(pre.tensor))
    plain = sbn.fold_normalisation(pre, mean=0.5, variance=4.0, eps=0.0)
    torch.testing.assert_close(plain.tensor, (pre.tensor - 0.5) / 2)


def test_expanded_pre_activation_is_normalised_as_its_source():
    norm = with_statistics(nn.BatchNorm1d(3))
    pre = affine(torch.randn(4, 5), torch.randn(3, 5), torch.randn(3))
    folded = sbn.fold_normalisation(pre.expand(torch.Size((2, 4))), norm)
    assert folded.shape == (2, 4, 3)
    torch.testing.assert_close(folded.tensor[1], norm(pre.tensor))


# errors ----------------------------------------------------------------------------------------


def dense_case():
    return affine(torch.ones(4, 5), torch.ones(3, 5))


def test_norm_in_training_mode_is_refused():
    with pytest.raises(
        ValueError, match=r"the norm is in training mode, where its .*\. Type norm.eval\(\) once"
    ):
        sbn.fold_normalisation(dense_case(), nn.BatchNorm1d(3))


def test_norm_without_running_statistics_is_refused():
    norm = nn.BatchNorm1d(3, track_running_stats=False).eval()
    with pytest.raises(ValueError, match=r"the norm has no running statistics, so it takes those"):
        sbn.fold_normalisation(dense_case(), norm)


@pytest.mark.parametrize("norm", [nn.LayerNorm(3), nn.BatchNorm2d(3), nn.InstanceNorm1d(3)])
def test_other_norms_are_refused(norm):
    with pytest.raises(TypeError, match=r"it must be a torch.nn.BatchNorm1d in eval mode"):
        sbn.fold_normalisation(dense_case(), norm.eval())


def test_wrong_statistics_are_refused():
    pre = dense_case()
    with pytest.raises(ValueError, match=r"there is no norm, and mean or variance is missing"):
        sbn.fold_normalisation(pre, mean=0.0)
    with pytest.raises(ValueError, match=r"a norm has statistics, gain and shift of its own"):
        sbn.fold_normalisation(pre, nn.BatchNorm1d(3).eval(), mean=0.0)
    with pytest.raises(ValueError, match=r"mean has shape \(4,\); it must be a number or one per"):
        sbn.fold_normalisation(pre, mean=torch.zeros(4), variance=1.0)
    with pytest.raises(ValueError, match=r"mean has shape \(4, 3\); it must be a number or one"):
        sbn.fold_normalisation(pre, mean=torch.zeros(4, 3), variance=1.0)
    with pytest.raises(ValueError, match=r"a variance is negative"):
        sbn.fold_normalisation(pre, mean=0.0, variance=-1.0)
    with pytest.raises(ValueError, match=r"mean has shape \(2,\)"):
        sbn.fold_normalisation(pre, nn.BatchNorm1d(2).eval())


def test_statistics_of_the_batch_in_the_graph_are_refused():
    bias = torch.zeros(3, requires_grad=True)
    pre = affine(torch.ones(4, 5), torch.ones(3, 5), bias)
    with pytest.raises(ValueError, match=r"mean is in the autograd graph; statistics are constant"):
        sbn.fold_normalisation(pre, mean=pre.tensor.mean(0), variance=1.0)


def test_norm_applied_to_the_tensor_is_pointed_here():
    norm = nn.BatchNorm1d(3)
    with pytest.raises(TypeError, match=r"normalisation of it is bayes_sbn.fold_normalisation\(af"):
        sbn.NoisySign(norm(dense_case().tensor))
