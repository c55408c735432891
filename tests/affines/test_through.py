"""Functions of an affine in the autograd graph: each operand by its rule, nothing twice."""

import numpy as np
import pytest
import torch

from bayes_sbn.affines import MeanSign, NormalLogLikelihood, affine
from bayes_sbn.noise import get_noise
from bayes_sbn.signs import tag_sign
from tests.affines.literal_affine import EXACT, Operands, operands, unit

RULES = {"flip": EXACT, "derivative": None}


def plain(case: Operands, h, g, *, of: str) -> torch.Tensor:
    """The plain derivative in one operand, the others being constants."""
    values = {"x": case.x, "w": case.w, "scale": case.scale, "bias": case.bias}
    tensors = {k: torch.tensor(v, requires_grad=k == of) for k, v in values.items()}
    a = tensors["scale"] * (tensors["x"] @ tensors["w"].mT) + tensors["bias"]
    (torch.tensor(g) * h.value(a)).sum().backward()
    return tensors[of].grad


@pytest.mark.parametrize("name", ["mean", "log_prob", "bernoulli", "normal", "relaxed"])
@pytest.mark.parametrize("w_rule", ["flip", "derivative", "real"])
@pytest.mark.parametrize("x_rule", ["flip", "derivative", "real"])
def test_each_operand_is_differentiated_by_its_own_rule(x_rule, w_rule, name):
    case = operands(x_is_sign=x_rule != "real", w_is_sign=w_rule != "real")
    h = unit(name, (4, 2))
    g = np.random.default_rng(1).normal(size=(4, 2))
    leaves = {
        "x": torch.tensor(case.x, requires_grad=True),
        "w": torch.tensor(case.w, requires_grad=True),
        "scale": torch.tensor(case.scale, requires_grad=True),
        "bias": torch.tensor(case.bias, requires_grad=True),
    }
    rules = {"x": x_rule, "w": w_rule}
    drawn = {
        key: leaves[key] if rule == "real" else tag_sign(leaves[key], key, RULES[rule])
        for key, rule in rules.items()
    }
    pre = affine(drawn["x"], drawn["w"], leaves["bias"], scale=leaves["scale"])
    value = pre.through(h.torch)
    np.testing.assert_allclose(value.detach(), h.numpy(case.value(case.x, case.w)), atol=1e-13)
    (torch.tensor(g) * value).sum().backward()
    flips = dict(zip("xw", case.flips(lambda a: (g * h.numpy(a)).sum()), strict=True))
    for key, leaf in leaves.items():
        by_flips = rules.get(key) == "flip"
        wanted = torch.tensor(flips[key]) if by_flips else plain(case, h.torch, g, of=key)
        torch.testing.assert_close(leaf.grad, wanted, rtol=0, atol=1e-12)


def test_sigma_of_a_normal_is_differentiated_plainly():
    case = operands()
    pre, x, _ = case.affine()
    target = torch.randn(4, 2)
    grads = []
    for a in (pre, pre.tensor.detach()):
        sigma = torch.tensor([0.7, 1.2], requires_grad=True)
        h = NormalLogLikelihood(target, sigma.expand(4, 2))
        (pre.through(h) if a is pre else h.value(a)).sum().backward()
        grads.append(sigma.grad)
    torch.testing.assert_close(*grads, rtol=0, atol=1e-13)
    assert grads[0].abs().min() > 0.1
    assert x.grad is not None


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_expanded_affine_sums_the_flips_of_its_copies(shape):
    case = operands()
    pre, x, w = case.affine()
    h, g = unit("mean", (4, 2)), np.random.default_rng(1).normal(size=(*shape, 2))
    copies = pre.expand(torch.Size(shape))
    value = copies.through(h.torch)
    assert value.shape == (*shape, 2)
    (torch.tensor(g) * value).sum().backward()
    total = g.reshape(-1, 4, 2).sum(0)
    of_x, of_w = case.flips(lambda a: (total * h.numpy(a)).sum())
    np.testing.assert_allclose(x.grad, of_x, rtol=0, atol=1e-12)
    np.testing.assert_allclose(w.grad, of_w, rtol=0, atol=1e-12)


@pytest.mark.parametrize("w_shape", [(2, 3), (5, 1, 2, 3), (5, 2, 3)])
def test_expanded_affine_of_a_vector(w_shape):
    case = operands(x_shape=(3,), w_shape=w_shape)
    pre, x, w = case.affine()
    batch = torch.Size((5, 4) if len(w_shape) == 4 else (4, *w_shape[:-2]))
    h, g = unit("mean", (2,)), np.random.default_rng(1).normal(size=(*batch, 2))
    value = pre.expand(batch).through(h.torch)
    (torch.tensor(g) * value).sum().backward()

    def objective(a):
        return (g * np.broadcast_to(h.numpy(a), g.shape)).sum()

    of_x, of_w = case.flips(objective)
    np.testing.assert_allclose(
        value.detach(), np.broadcast_to(h.numpy(case.value(case.x, case.w)), g.shape)
    )
    np.testing.assert_allclose(x.grad, of_x, rtol=0, atol=1e-12)
    np.testing.assert_allclose(w.grad, of_w, rtol=0, atol=1e-12)


def test_affine_without_flips_is_an_ordinary_function():
    x, w = torch.randn(4, 3), torch.randn(2, 3, requires_grad=True)
    pre = affine(tag_sign(x, "x", EXACT), w)  # a constant draw has no gradient to flip
    assert not pre.needs_flips
    assert pre.inputs.is_sign
    h = MeanSign(get_noise("laplace"))
    assert torch.autograd.gradcheck(lambda v: affine(x, v).through(h), w)
    assert torch.equal(pre.through(h), h.value(x @ w.mT))


def test_affine_that_was_read_under_no_grad_keeps_its_gradients():
    w = torch.randn(2, 3, requires_grad=True)
    for pre in (
        affine(torch.ones(4, 3), w),
        affine(torch.ones(4, 3), w).expand(torch.Size((5, 4))),
    ):
        with torch.no_grad():
            constant = pre.tensor
            assert constant.grad_fn is None
            assert pre.shape == constant.shape
        assert pre.tensor.grad_fn is not None
        assert torch.equal(pre.tensor, constant)
        assert pre.tensor is pre.tensor
        pre.through(MeanSign(get_noise("logistic"))).sum().backward()
        assert w.grad.abs().min() > 0
        w.grad = None


def test_flips_refuse_to_be_differentiated_twice():
    pre, x, _ = operands().affine()
    weight = torch.ones((), requires_grad=True)
    value = (weight * pre.through(unit("mean", (4, 2)).torch)).sum()
    (gradient,) = torch.autograd.grad(value, x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        gradient.sum().backward()
