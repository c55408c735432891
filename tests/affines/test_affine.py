"""The lazy affine itself: values and shapes, what it refuses and in which words."""

import pyro
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.affines import Affine, affine, broadcasts_to
from bayes_sbn.signs import FlipRule, tag_sign


def test_affine_is_the_scaled_product_plus_the_bias():
    x, w = torch.randn(4, 3), torch.randn(2, 3)
    scale, bias = torch.randn(2), torch.randn(2)
    pre = affine(x, w, bias, scale=scale)
    torch.testing.assert_close(pre.tensor, scale * torch.nn.functional.linear(x, w) + bias)
    torch.testing.assert_close(affine(x, w, scale=0.5).tensor, 0.5 * (x @ w.mT))
    torch.testing.assert_close(affine(x, w, bias).tensor, x @ w.mT + bias)
    assert sbn.affine is affine


@pytest.mark.parametrize(
    ("x", "w", "batch"),
    [
        ((3,), (2, 3), ()),
        ((4, 3), (2, 3), (4,)),
        ((0, 3), (2, 3), (0,)),
        ((5, 4, 3), (2, 3), (5, 4)),
        ((4, 3), (5, 1, 2, 3), (5, 4)),
        ((5, 4, 3), (5, 1, 2, 3), (5, 4)),
        ((6, 1, 4, 3), (5, 1, 2, 3), (6, 5, 4)),
        ((3,), (5, 1, 2, 3), (5, 1)),
        ((4, 3), (1, 2, 3), (4,)),
    ],
)
def test_affine_has_the_batch_shape_of_rows_and_particles(x, w, batch):
    x, w = torch.randn(x), torch.randn(w)
    pre = affine(x, w)
    assert pre.batch_shape == batch
    assert pre.shape == (*batch, 2)
    assert pre.event_dim == 1
    wanted = torch.einsum(
        "...ni,...ji->...nj", x.expand(1, 3) if x.dim() == 1 else x, pre.matrix.open
    )
    torch.testing.assert_close(pre.tensor, wanted.reshape(pre.shape))


def test_affine_reads_the_tags_of_its_operands():
    rule = FlipRule(real_inputs="exact")
    leaf = torch.ones(4, 3, requires_grad=True)
    pre = affine(tag_sign(leaf, "h", rule), torch.ones(2, 3))
    assert pre.inputs.is_sign
    assert pre.inputs.by_flips
    assert pre.inputs.flip is rule
    assert pre.inputs.site == "h"
    assert not pre.weight.is_sign
    assert pre.needs_flips
    assert not pre.tensor.requires_grad  # no derivative where there are to be flips


@pytest.mark.parametrize("name", ["x", "weight"])
def test_affine_refuses_what_is_not_a_tensor(name):
    operands = {"x": torch.ones(3), "weight": torch.ones(2, 3)}
    operands[name] = operands[name].tolist()
    with pytest.raises(TypeError, match=rf"{name} is a list; .*torch.as_tensor\({name}, dtype="):
        affine(**operands)


@pytest.mark.parametrize(
    ("x", "w"), [((4, 3), (2, 4)), ((3,), (3,)), ((), (2, 3)), ((4, 3), (3, 2))]
)
def test_affine_refuses_shapes_that_do_not_fit(x, w):
    with pytest.raises(ValueError, match=r"x must end in the number of inputs and weight be \(out"):
        affine(torch.ones(x), torch.ones(w))


def test_affine_refuses_integers_and_mixed_types():
    with pytest.raises(
        TypeError, match=r"x is torch.int64 .*floating point. Write x.to\(torch.get"
    ):
        affine(torch.ones(3, dtype=torch.long), torch.ones(2, 3))
    with pytest.raises(TypeError, match=r"both must be the same. Write x.to\(weight.dtype\)"):
        affine(torch.ones(3), torch.ones(2, 3, dtype=torch.float32))


@pytest.mark.parametrize(
    ("name", "shape"),
    [("bias", (3,)), ("bias", (4, 3)), ("scale", (3,)), ("scale", (4, 2)), ("scale", (1, 1))],
)
def test_affine_refuses_a_bias_or_scale_of_another_shape(name, shape):
    with pytest.raises(ValueError, match=rf"{name} has shape .*a number or one per unit, \(2,\)"):
        affine(torch.ones(4, 3), torch.ones(2, 3), **{name: torch.ones(shape)})


def test_affine_refuses_one_matrix_per_row():
    with pytest.raises(ValueError, match=r"one matrix per row of x \(4, 3\).*before \(outside\)"):
        affine(torch.ones(4, 3), torch.ones(4, 2, 3))


def test_weights_drawn_inside_the_plate_are_refused():
    def model(x):
        with pyro.plate("data", len(x)):
            w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(2, 3)).to_event(2))
            return pyro.sample("h", sbn.NoisySign(sbn.affine(x, w)))

    with pytest.raises(ValueError, match=r"draw them before \(outside\) pyro.plate"):
        model(torch.ones(4, 3))


def test_particles_without_room_for_the_plate_are_refused():
    def model(x):
        w = [
            pyro.sample(f"w{k}", sbn.SignBernoulli(logits=torch.zeros(3, 3)).to_event(2))
            for k in range(2)
        ]
        h = pyro.sample("h", sbn.NoisySign(sbn.affine(x, w[0])))
        return pyro.sample("y", sbn.AffineBernoulli(sbn.affine(h, w[1])))

    def run(dim):
        with pyro.plate("particles", 5, dim=dim):
            return model(torch.ones(3)).shape

    with pytest.raises(ValueError, match="whose max_plate_nesting counts the plate of the rows"):
        run(-1)
    assert run(-2) == (5, 1, 3)


@pytest.mark.parametrize("batch", [(4,), (1, 4), (6, 4)])
def test_affine_expands_and_remembers_its_source(batch):
    pre = affine(torch.randn(4, 3), torch.randn(2, 3), torch.randn(2), scale=0.3)
    wide = pre.expand(torch.Size(batch))
    assert wide.batch_shape == batch
    assert torch.equal(wide.tensor, pre.tensor.expand(*batch, 2))
    assert wide.source is pre
    assert (wide is pre) == (batch == (4,))
    again = wide.expand(torch.Size((2, 6, 4))) if batch == (6, 4) else wide
    assert again.source is pre
    assert torch.equal(again.tensor, pre.tensor.expand(*again.batch_shape, 2))


@pytest.mark.parametrize("batch", [(3,), (1,), (), (4, 1)])
def test_affine_refuses_to_expand_to_what_it_does_not_broadcast_to(batch):
    pre = affine(torch.randn(4, 3), torch.randn(2, 3))
    with pytest.raises(ValueError, match=r"has batch shape \(4,\), which does not broadcast"):
        pre.expand(torch.Size(batch))


@pytest.mark.parametrize(
    ("shape", "wanted", "answer"),
    [
        ((), (), True),
        ((), (3,), True),
        ((1,), (3,), True),
        ((3,), (2, 3), True),
        ((2, 1), (2, 3), True),
        ((3,), (1,), False),
        ((3,), (2,), False),
        ((2, 3), (3,), False),
        ((1, 3), (3,), False),
    ],
)
def test_broadcasts_to_is_what_expand_accepts(shape, wanted, answer):
    assert broadcasts_to(torch.Size(shape), torch.Size(wanted)) is answer
    try:
        torch.ones(shape).expand(wanted)
        accepted = True
    except RuntimeError:
        accepted = False
    assert accepted is answer


def test_repr_tells_the_kind_and_the_sizes():
    sign = tag_sign(torch.ones(2, 3), "w", None)
    assert repr(affine(torch.ones(4, 3), sign)) == "Affine(±1 weights 2 x 3, batch shape (4,))"
    real: Affine = affine(torch.ones(3), torch.ones(2, 3))
    assert repr(real) == "Affine(real weights 2 x 3, batch shape ())"
