"""Sums of pre-activations: values, and the flips of every operand at the total, literally."""

import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.affines import MeanSign, Sum, affine, affine_conv2d, identity
from bayes_sbn.noise import get_noise
from bayes_sbn.signs import FlipRule, tag_sign
from tests.affines.literal_affine import UNITS, unit
from tests.affines.literal_sum import SUMS, Draws, Structured, convolution_residual
from tests.affines.test_flips import LargestTensor

every_sum = pytest.mark.parametrize("name", SUMS)
every_weight = pytest.mark.parametrize("w_is_sign", [True, False])
with_particles = pytest.mark.parametrize("particles", [(), (3,)])


def assert_every_operand(case: Structured, through, objective) -> None:
    """Gradients of ``through`` equal flips of the draws and derivatives of the rest."""
    pre, leaves = case.tagged()
    torch.testing.assert_close(pre.tensor, case.value(), rtol=0, atol=1e-13)
    through(pre).sum().backward()
    for name, leaf in leaves.items():
        wanted = (case.literal if name in case.signs else case.derivative)(name, objective)
        assert wanted.abs().max() > 1e-3, name
        torch.testing.assert_close(leaf.grad, wanted, rtol=0, atol=1e-11, msg=name)


@with_particles
@every_weight
@every_sum
def test_sum_of_draws_is_flipped_at_the_total(name, w_is_sign, particles):
    case = SUMS[name](w_is_sign, particles)
    law = get_noise("gaussian")
    g = torch.randn(case.value().shape)
    assert_every_operand(
        case,
        lambda pre: g * pre.through(MeanSign(law)),
        lambda a: (g * law.mean_sign(a)).sum(),
    )


@pytest.mark.parametrize(("name", "noise"), UNITS, ids=map("-".join, UNITS))
def test_every_unit_function_of_a_sum(name, noise):
    case = SUMS["dense_skip"]()
    shape = tuple(case.value().shape)
    h = unit(name, shape, noise)
    g = torch.randn(shape)
    pre, leaves = case.tagged()
    (g * pre.through(h.torch)).sum().backward()
    for operand in case.signs:
        wanted = case.literal(operand, lambda a: (g * torch.tensor(h.numpy(a.numpy()))).sum())
        torch.testing.assert_close(leaves[operand].grad, wanted, rtol=0, atol=1e-11)


@pytest.mark.parametrize("large", [False, True])
@with_particles
@every_weight
@pytest.mark.parametrize("name", ["two_dense", "dense_skip"])
def test_categorical_head_on_a_sum(name, w_is_sign, particles, large):
    case = SUMS[name](w_is_sign, particles)
    if large:  # steps for which the head evaluates entry by entry
        case.operands["s"] *= 40.0
    labels = torch.tensor([0, 2, 1, 1])
    g = torch.randn(case.value().shape[:-1])

    def likelihood(a):
        log_p = torch.log_softmax(a, -1)
        return (g * log_p.gather(-1, labels.expand(g.shape).unsqueeze(-1)).squeeze(-1)).sum()

    pre, leaves = case.tagged()
    (g * sbn.AffineCategorical(pre).log_prob(labels)).sum().backward()
    for operand, leaf in leaves.items():
        wanted = (case.literal if operand in case.signs else case.derivative)(operand, likelihood)
        torch.testing.assert_close(leaf.grad, wanted, rtol=1e-11, atol=1e-11, msg=operand)


def test_other_heads_on_a_sum():
    case = SUMS["dense_skip"]()
    labels, targets = torch.randint(2, (4, 3)) * 1.0, torch.randn(4, 3)
    log_sigmoid = torch.nn.functional.logsigmoid
    for law, y, objective in (
        (
            sbn.AffineBernoulli,
            labels,
            lambda a: (labels * log_sigmoid(a) + (1 - labels) * log_sigmoid(-a)).sum(),
        ),
        (
            lambda pre: sbn.AffineNormal(pre, 0.7),
            targets,
            lambda a: (-0.5 * ((targets - a) / 0.7).square()).sum(),
        ),
    ):
        assert_every_operand(case, lambda pre, law=law, y=y: law(pre).log_prob(y), objective)


@every_sum
def test_expanded_sum_adds_the_flips_of_its_copies(name):
    case = SUMS[name]()
    law = get_noise("logistic")
    value = case.value()
    split = value.dim() - case.tagged()[0].event_dim
    batch = torch.Size((3, *value.shape[:split]))
    g = torch.randn(3, *value.shape)
    pre, leaves = case.tagged()
    wide = pre.expand(batch)
    assert isinstance(wide, Sum)
    assert wide.source is pre
    assert wide.shape == g.shape
    assert pre.expand(pre.batch_shape) is pre
    (g * wide.through(MeanSign(law))).sum().backward()
    for operand in case.signs:
        wanted = case.literal(operand, lambda a: (g.sum(0) * law.mean_sign(a)).sum())
        torch.testing.assert_close(leaves[operand].grad, wanted, rtol=0, atol=1e-11)


def test_derivative_draws_in_a_sum_are_differentiated_plainly():
    case = SUMS["dense_skip"]()
    leaf = case.operands["h1"].clone().requires_grad_()
    given = {**case.operands, "h1": tag_sign(leaf, "h1", None)}
    pre = case.ours(**given)
    assert not pre.needs_flips
    law = get_noise("logistic")
    pre.through(MeanSign(law)).sum().backward()
    wanted = case.derivative("h1", lambda a: law.mean_sign(a))
    torch.testing.assert_close(leaf.grad, wanted, rtol=0, atol=1e-13)


def test_weights_on_real_inputs_in_a_sum_are_flipped_by_their_rule():
    x = torch.randn(6, 4)
    w = torch.where(torch.randn(3, 4) < 0, -1.0, 1.0)
    h = torch.where(torch.randn(6, 3) < 0, -1.0, 1.0)
    law = get_noise("logistic")
    found = {}
    for rule in ("exact", "series"):
        leaf = w.clone().requires_grad_()
        drawn = tag_sign(leaf, "w", FlipRule(real_inputs=rule))
        pre = affine(x, drawn, scale=0.03) + identity(tag_sign(h, "h", None))
        pre.through(MeanSign(law)).sum().backward()
        found[rule] = leaf.grad
    case = Structured(None, lambda w: 0.03 * x @ w.mT + h, {"w": w}, ("w",))
    wanted = case.literal("w", lambda a: law.mean_sign(a).sum())
    torch.testing.assert_close(found["exact"], wanted, rtol=0, atol=1e-13)
    distance = (found["series"] - found["exact"]).norm() / found["exact"].norm()
    assert 0 < distance < 1e-3


@every_weight
@pytest.mark.parametrize(
    "options",
    [
        {"groups": 2, "padding": 1},
        {"groups": 4, "padding": 1},
        {"kernel": (1, 1), "padding": 0},
        {"kernel": (3, 2), "dilation": (1, 2), "padding": 1},  # no tap on itself
        {"kernel": (5, 3), "padding": (2, 1)},
        {"kernel": (3, 3), "dilation": 2, "padding": 2},
    ],
    ids=str,
)
def test_map_beside_its_own_convolution_is_flipped_jointly(options, w_is_sign):
    case = convolution_residual(w_is_sign, **options)
    law = get_noise("logistic")
    g = torch.randn(case.value().shape)
    assert_every_operand(
        case,
        lambda pre: g * pre.through(MeanSign(law)),
        lambda a: (g * law.mean_sign(a)).sum(),
    )


def test_normalised_residual_is_flipped_jointly():
    case = SUMS["dense_residual"]()
    law = get_noise("logistic")
    mean, variance = torch.randn(5), 0.5 + torch.rand(5)
    pre, leaves = case.tagged()
    folded = sbn.fold_normalisation(pre, mean=mean, variance=variance, eps=0.0)
    folded.through(MeanSign(law)).sum().backward()
    for operand in case.signs:
        wanted = case.literal(operand, lambda a: law.mean_sign((a - mean) / variance.sqrt()).sum())
        torch.testing.assert_close(leaves[operand].grad, wanted, rtol=0, atol=1e-11)


def test_one_product_serves_sums_and_averages_of_signs():
    rows, units = 16, 32
    draw = Draws()
    h1, h2, h3 = draw.signs(rows, units), draw.signs(rows, units), draw.signs(rows, units, 2, 2)
    w, v = draw.signs(units, units), draw.signs(units, units)
    leaves = [t.requires_grad_() for t in (h1, h2, h3, w, v)]
    h1, h2, h3, w, v = (tag_sign(t * 1.0, f"site{k}", FlipRule()) for k, t in enumerate(leaves))
    averages = sbn.flatten(sbn.average_pool2d(h3, 2), 3)
    pre = affine(h1, w, scale=0.1) + affine(h2, v, scale=0.1) + identity(h1) + identity(averages)
    with LargestTensor() as largest:
        pre.through(MeanSign(get_noise("logistic"))).sum().backward()
    assert all(leaf.grad.abs().max() > 0 for leaf in leaves)
    assert largest.numel <= rows * units * 4  # that of the bits that are averaged


# errors ----------------------------------------------------------------------------------------


def flipped(site: str, *shape: int) -> torch.Tensor:
    return tag_sign(torch.ones(*shape, requires_grad=True), site, FlipRule())


def test_one_draw_in_two_terms_is_refused():
    h, w = flipped("h1", 4, 3), torch.randn(3, 3)
    with pytest.raises(ValueError, match=r'the draw of site "h1" is in 2 of the terms; its flips'):
        affine(h, w) + affine(h, w)
    with pytest.raises(ValueError, match=r'the draw of site "h1" is in 3 of the terms'):
        affine(h, w) + identity(h) + identity(h)
    with pytest.raises(ValueError, match=r'site "h1" is in 2 of the terms'):  # no unit sees itself
        affine(h, w) + identity(sbn.permute(h, (0,)))
    kernel = flipped("kernel", 2, 2, 1, 1)
    with pytest.raises(ValueError, match=r'site "kernel" is in 2 of the terms'):
        affine_conv2d(torch.ones(2, 3, 3), kernel) + affine_conv2d(torch.ones(2, 3, 3), kernel)
    constant = tag_sign(torch.ones(4, 3), "h1", FlipRule())  # nothing to differentiate
    assert (affine(constant, w) + affine(constant, w)).shape == (4, 3)
    derivative = tag_sign(torch.ones(4, 3, requires_grad=True), "h1", None)
    assert (affine(derivative, w) + identity(derivative)).shape == (4, 3)


def test_strided_convolution_beside_its_own_input_is_refused():
    h, w = flipped("h1", 4, 2, 1, 1), torch.randn(2, 2, 3, 3)
    with pytest.raises(ValueError, match=r'site "h1" is in 2 of the terms'):
        affine_conv2d(h, w, stride=2, padding=1) + identity(h, 3)


def test_head_on_a_layer_beside_its_own_input_is_refused():
    h, w = flipped("h1", 4, 3), torch.randn(3, 3)
    with pytest.raises(
        ValueError, match=r"moves? all logits jointly. Write the identity into the w"
    ):
        sbn.AffineCategorical(affine(h, w) + identity(h)).log_prob(torch.zeros(4))


def test_other_things_are_not_added():
    pre = affine(torch.ones(4, 3), torch.ones(2, 3))
    for other in (1.0, torch.ones(4, 2)):
        with pytest.raises(TypeError, match=r"Write a constant as bias=..., and a draw h as bayes"):
            pre + other
        with pytest.raises(TypeError, match=r"added to each other. Write a constant as bias=..."):
            other + pre
    with pytest.raises(
        ValueError, match=r"their units have shapes \(2,\) and \(3,\); they must be"
    ):
        pre + identity(torch.ones(4, 3))
    with pytest.raises(ValueError, match=r"the batch shapes \(4,\), \(3,\) do not broadcast; each"):
        pre + identity(torch.ones(3, 2))
    maps = affine_conv2d(torch.ones(4, 1, 3, 3), torch.ones(2, 1, 1, 1))
    with pytest.raises(ValueError, match=r"have shapes \(2, 3, 3\) and \(2,\)"):
        maps + pre


def test_identity_of_wrong_arguments_is_refused():
    with pytest.raises(TypeError, match=r"identity\(x, event_dim=1\): x is float; it must be a fl"):
        identity(1.0)
    for dim in (0, 4, 3):
        with pytest.raises(
            ValueError, match=r"x has shape \(2, 3\); event_dim is the number of its"
        ):
            identity(torch.ones(2, 3), dim)
    for name in ("bias", "scale"):
        with pytest.raises(
            ValueError, match=rf"{name} has shape \(2,\); it must be a number or one"
        ):
            identity(torch.ones(2, 3), **{name: torch.ones(2)})


def test_scale_and_bias_of_an_identity_may_be_numbers():
    x = torch.randn(4, 3)
    assert torch.equal(identity(x, scale=2.0, bias=0.5).tensor, 2.0 * x + 0.5)


def test_head_on_a_sum_of_maps_is_refused():
    maps = affine_conv2d(torch.ones(4, 1, 3, 3), torch.ones(2, 1, 1, 1))
    with pytest.raises(TypeError, match=r"heads are dense. Write h = bayes_sbn.flatten\(h, 3\)"):
        sbn.AffineCategorical(maps + identity(torch.ones(4, 2, 3, 3), 3))
