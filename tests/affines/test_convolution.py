"""The lazy convolution itself: values and shapes, what it refuses and in which words."""

import numpy as np
import pyro
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.affines import Convolution, MeanSign, affine_conv1d, affine_conv2d
from bayes_sbn.noise import get_noise
from bayes_sbn.signs import FlipRule, tag_sign
from tests.affines.literal_affine import EXACT, unit
from tests.affines.literal_convolution import maps

CONVOLUTIONS = {
    1: (affine_conv1d, torch.nn.functional.conv1d),
    2: (affine_conv2d, torch.nn.functional.conv2d),
}
OPTIONS = [
    {},
    {"stride": 2},
    {"padding": 1, "dilation": 2},
    {"stride": 2, "padding": 2, "groups": 2},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dims", [1, 2])
def test_convolution_is_that_of_torch_with_scale_and_bias(dims, options):
    ours, torchs = CONVOLUTIONS[dims]
    space, kernel = (6, 5)[:dims], (3, 2)[:dims]
    x, w = torch.randn(4, 2, *space), torch.randn(6, 2 // options.get("groups", 1), *kernel)
    scale, bias = torch.randn(6), torch.randn(6)
    channel = (6, *(1,) * dims)
    plain = torchs(x, w, **options)
    wanted = scale.reshape(channel) * plain + bias.reshape(channel)
    pre = ours(x, w, bias, scale=scale, **options)
    torch.testing.assert_close(pre.tensor, wanted, rtol=0, atol=1e-12)
    assert pre.shape == wanted.shape
    assert pre.batch_shape == (4,)
    assert pre.event_dim == dims + 1
    torch.testing.assert_close(ours(x[0], w, scale=0.5, **options).tensor, 0.5 * plain[0])
    assert sbn.affine_conv1d is affine_conv1d
    assert sbn.affine_conv2d is affine_conv2d


@pytest.mark.parametrize(
    ("batch", "lead", "wanted"),
    [
        ((), (), ()),
        ((0,), (), (0,)),
        ((5, 4), (), (5, 4)),
        ((4,), (5, 1), (5, 4)),
        ((5, 4), (5, 1), (5, 4)),
        ((6, 1, 4), (5, 1), (6, 5, 4)),
        ((), (5, 1), (5, 1)),
        ((4,), (1, 1), (1, 4)),
        ((4,), (1,), (4,)),
    ],
)
def test_convolution_has_the_batch_shape_of_rows_and_particles(batch, lead, wanted):
    case = maps(batch=batch, lead=lead, groups=2, padding=1)
    pre, _, _ = case.affine()
    assert pre.batch_shape == wanted
    np.testing.assert_allclose(pre.tensor, case.value(case.x, case.w), rtol=0, atol=1e-13)


RULES = {"flip": EXACT, "derivative": None}


@pytest.mark.parametrize("lead", [(), (3, 1)])
@pytest.mark.parametrize("w_rule", ["flip", "derivative", "real"])
@pytest.mark.parametrize("x_rule", ["flip", "derivative", "real"])
def test_each_operand_is_differentiated_by_its_own_rule(x_rule, w_rule, lead):
    case = maps(
        lead=lead, groups=2, padding=1, x_is_sign=x_rule != "real", w_is_sign=w_rule != "real"
    )
    values = {"x": case.x, "w": case.w, "scale": case.scale, "bias": case.bias}
    rules = {"x": x_rule, "w": w_rule}
    leaves = {key: torch.tensor(value, requires_grad=True) for key, value in values.items()}
    drawn = {
        key: leaves[key] if rule == "real" else tag_sign(leaves[key], key, RULES[rule])
        for key, rule in rules.items()
    }
    pre = affine_conv2d(
        drawn["x"], drawn["w"], leaves["bias"], scale=leaves["scale"], padding=1, groups=2
    )
    h = unit("mean", tuple(pre.shape))
    g = np.random.default_rng(1).normal(size=pre.shape)
    (torch.tensor(g) * pre.through(h.torch)).sum().backward()
    flips = dict(zip("xw", case.flips(lambda a: g * h.numpy(a)), strict=True))
    plain = {key: torch.tensor(value, requires_grad=True) for key, value in values.items()}
    convolved = [
        torch.nn.functional.conv2d(plain["x"], w, padding=1, groups=2)
        for w in plain["w"].reshape(-1, *case.w.shape[-4:])
    ]
    a = torch.stack(convolved).reshape(pre.shape)
    a = plain["scale"][:, None, None] * a + plain["bias"][:, None, None]
    (torch.tensor(g) * h.torch.value(a)).sum().backward()
    for key, leaf in leaves.items():
        wanted = torch.tensor(flips[key]) if rules.get(key) == "flip" else plain[key].grad
        torch.testing.assert_close(leaf.grad, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["signs", "reals"])
@pytest.mark.parametrize(("batch", "shape"), [((2,), (5, 2)), ((2,), (3, 5, 2)), ((), (5,))])
def test_expanded_convolution_sums_the_flips_of_its_copies(batch, shape, kind):
    case = maps(batch=batch, padding=1, w_is_sign=kind == "signs")
    pre, x, _ = case.affine()
    copies = pre.expand(torch.Size(shape))
    h = unit("mean", tuple(pre.shape))
    g = np.random.default_rng(1).normal(size=copies.shape)
    value = copies.through(h.torch)
    assert copies.source is pre
    assert copies.batch_shape == shape
    assert torch.equal(copies.tensor, pre.tensor.expand(copies.shape))
    (torch.tensor(g) * value).sum().backward()
    total = g.reshape(-1, *pre.shape).sum(0)
    of_x, _ = case.flips(lambda a: total * h.numpy(a))
    np.testing.assert_allclose(x.grad, of_x, rtol=0, atol=1e-12)
    assert pre.expand(pre.batch_shape) is pre


def test_convolution_refuses_to_expand_to_what_it_does_not_broadcast_to():
    pre, _, _ = maps().affine()
    with pytest.raises(ValueError, match=r"^Convolution.expand\(\(3,\)\).*has batch shape \(2,\)"):
        pre.expand(torch.Size((3,)))


def test_convolution_without_flips_is_an_ordinary_function():
    w = torch.randn(2, 2, 2, 2, requires_grad=True)
    x = tag_sign(torch.ones(2, 2, 3, 3), "x", EXACT)  # a constant draw has nothing to flip
    pre = affine_conv2d(x, w, padding=1)
    assert pre.inputs.is_sign
    assert not pre.needs_flips
    h = MeanSign(get_noise("laplace"))
    assert torch.autograd.gradcheck(lambda v: affine_conv2d(x, v, padding=1).through(h), w)


def test_flips_refuse_to_be_differentiated_twice():
    pre, x, _ = maps().affine()
    weight = torch.ones((), requires_grad=True)
    value = (weight * pre.through(MeanSign(get_noise("logistic")))).sum()
    (gradient,) = torch.autograd.grad(value, x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        gradient.sum().backward()


def test_repr_tells_the_kind_and_the_sizes():
    sign = tag_sign(torch.ones(2, 1, 3, 3), "w", None)
    pre: Convolution = affine_conv2d(torch.ones(4, 1, 5, 5), sign)
    assert repr(pre) == "Convolution(±1 weights 2 x 1 x 3 x 3, batch shape (4,))"
    real = affine_conv1d(torch.ones(1, 5), torch.ones(2, 1, 3))
    assert repr(real) == "Convolution(real weights 2 x 1 x 3, batch shape ())"


# what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x", "weight"])
def test_convolution_refuses_what_is_not_a_tensor(name):
    operands = {"x": torch.ones(1, 3), "weight": torch.ones(2, 1, 3)}
    operands[name] = operands[name].tolist()
    with pytest.raises(TypeError, match=rf"^affine_conv1d.*{name} is a list; .*Write torch.as_te"):
        affine_conv1d(**operands)


def test_convolution_refuses_integers_and_mixed_types():
    x, w = torch.ones(1, 3, 3), torch.ones(2, 1, 3, 3)
    with pytest.raises(TypeError, match=r"x is torch.int64 .*floating point. Write x.to\(torch"):
        affine_conv2d(x.long(), w)
    with pytest.raises(TypeError, match=r"both must be the same. Write x.to\(weight.dtype\)"):
        affine_conv2d(x, w.float())


WRONG = [
    ((3, 3), (2, 1, 3, 3), {}, r"x must end in \(C, H, W\) .*with x.unsqueeze\(-3\)"),
    ((1, 3, 3), (1, 3, 3), {}, r"weight in \(O, C / groups, kh, kw\)"),
    ((2, 3, 3), (2, 1, 3, 3), {}, r"groups=1; x must have C = 1 \* 1 channels"),
    ((2, 3, 3), (3, 1, 3, 3), {"groups": 2}, r"the 3 output channels fall into 2 groups"),
    ((1, 3, 3), (2, 1, 4, 3), {}, r"the kernel does not fit into the map of size \(3, 3\) with"),
    ((1, 3, 3), (2, 1, 3, 3), {"dilation": 2}, r"dilation \(2, 2\). Use a smaller kernel or"),
    (
        (4, 1, 3, 3),
        (4, 2, 1, 3, 3),
        {},
        r"one kernel per row of x. .*before \(outside\) pyro.plate",
    ),
    (
        (1, 3, 3),
        (2, 1, 3, 3),
        {"padding": "same"},
        r"padding is 'same'; .*of at least 0 or 2 of th",
    ),
    ((1, 3, 3), (2, 1, 3, 3), {"stride": 0}, r"stride is 0; it must be an integer of at least 1"),
    ((1, 3, 3), (2, 1, 3, 3), {"stride": (1,)}, r"stride is \(1,\); .*Write stride=1"),
    ((1, 3, 3), (2, 1, 3, 3), {"groups": 1.0}, r"groups is 1.0; it must be an integer of at le"),
    ((1, 3, 3), (2, 1, 3, 3), {"groups": True}, r"groups is True; it must be an integer of at le"),
    ((1, 3, 3), (2, 1, 3, 3), {"bias": torch.ones(3)}, r"bias has shape \(3,\); .*one per output"),
    ((1, 3, 3), (2, 1, 3, 3), {"scale": torch.ones(1, 2)}, r"scale has shape \(1, 2\); .*\(2,\)"),
]


@pytest.mark.parametrize(("x", "w", "options", "words"), WRONG)
def test_convolution_refuses_what_does_not_fit(x, w, options, words):
    with pytest.raises(ValueError, match=words):
        affine_conv2d(torch.ones(x), torch.ones(w), **options)


def test_weights_drawn_inside_the_plate_are_refused():
    def model(x):
        with pyro.plate("data", len(x)):
            w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(2, 1, 2)).to_event(3))
            return pyro.sample("h", sbn.NoisySign(sbn.affine_conv1d(x, w)))

    with pytest.raises(ValueError, match=r"draw them before \(outside\) pyro.plate"):
        model(torch.ones(4, 1, 3))


@pytest.mark.parametrize(
    "make",
    [
        sbn.AffineCategorical,
        sbn.AffineBernoulli,
        lambda pre: sbn.AffineNormal(pre, torch.ones(())),
    ],
)
@pytest.mark.parametrize("dims", [1, 2])
def test_heads_refuse_a_convolution_and_say_what_to_do(make, dims):
    space, kernel = (4, 4)[:dims], (2, 2)[:dims]
    pre = CONVOLUTIONS[dims][0](torch.ones(3, 1, *space), torch.ones(2, 1, *kernel))
    words = (
        rf"received Convolution\(.*heads are dense. Write h = bayes_sbn.flatten\(h, {dims + 1}\)"
    )
    with pytest.raises(TypeError, match=words):
        make(pre)


def test_rule_of_real_inputs_does_not_touch_signs():
    gradients = []
    for rule in (FlipRule(real_inputs="series"), EXACT):
        pre, x, w = maps().affine(rule)
        pre.through(MeanSign(get_noise("gaussian"))).sum().backward()
        gradients.append((x.grad, w.grad))
    for series, exact in zip(*gradients, strict=True):
        assert torch.equal(series, exact)
