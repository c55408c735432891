"""Tags of ±1 draws: what a closed draw allows, and what an open one does."""

import copy
import gc
import weakref

import pytest
import torch

import bayes_sbn
from bayes_sbn.affines import MeanSign, affine
from bayes_sbn.noise import get_noise
from bayes_sbn.signs import FlipRule, open_sign, sign_tag, tag_sign

FLIP = FlipRule()


def draw(rule: FlipRule | None) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = torch.tensor([[1.0, -1.0, 1.0]], requires_grad=True)
    return tag_sign(leaf * 1.0, "hidden.0", rule), leaf


OPERATIONS = {
    "reshape": lambda h: h.reshape(-1),
    "product": lambda h: 2.0 * h,
    "matmul": lambda h: h @ torch.ones(3, 2),
    "expand": lambda h: h.expand(4, 3),
    "index": lambda h: h[:, 1],
    "affine_of_a_reshape": lambda h: affine(h.reshape(1, 3), torch.ones(2, 3)).tensor,
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_closed_draw_refuses_a_gradient_through_other_operations(operation):
    h, _ = draw(FLIP)
    result = OPERATIONS[operation](h)
    with pytest.raises(RuntimeError, match=r'site "hidden.0" is differentiated by exact flips'):
        result.sum().backward()


def test_closed_draw_names_every_way_out():
    h, _ = draw(FLIP)
    with pytest.raises(RuntimeError) as error:
        h.sum().backward()
    functions = ("affine", "affine_conv2d", "identity", "flatten", "reshape", "permute")
    others = ("max_pool2d", "average_pool2d", "exact_flips", "FlipLikelihood")
    for way in (*functions, *others):
        assert hasattr(bayes_sbn, way)
        assert f"{way}()" in str(error.value)
    assert 'infer={"estimator": "st"}' in str(error.value)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_draw_with_derivatives_goes_through_every_operation(operation):
    h, leaf = draw(None)
    OPERATIONS[operation](h).sum().backward()
    assert leaf.grad.abs().sum() > 0


def test_closed_draw_may_be_monitored():
    h, leaf = draw(FLIP)
    monitored = {"mean": h.mean(), "rate": (h > 0).double().mean(), "flat": h.reshape(-1)}
    assert monitored["flat"].detach().tolist() == [1.0, -1.0, 1.0]
    affine(h, torch.ones(2, 3)).through(MeanSign(get_noise("logistic"))).sum().backward()
    assert leaf.grad.abs().min() > 0


def test_tag_tells_the_site_the_rule_and_the_open_tensor():
    for rule in (FLIP, None):
        h, leaf = draw(rule)
        tag = sign_tag(h)
        assert (tag.site, tag.flip) == ("hidden.0", rule)
        assert torch.equal(h, leaf)
        assert (open_sign(h) is h) == (rule is None)
        open_sign(h).sum().backward()
        assert leaf.grad.tolist() == [[1.0, 1.0, 1.0]]


def test_untagged_tensor_is_its_own_open_tensor():
    x = torch.ones(2)
    assert sign_tag(x) is None
    assert open_sign(x) is x


@pytest.mark.parametrize("rule", [FLIP, None])
@pytest.mark.parametrize("requires_grad", [True, False])
def test_tag_is_not_put_on_the_tensor_of_the_caller(rule, requires_grad):
    own = torch.ones(3, requires_grad=requires_grad)
    tagged = tag_sign(own, "h", rule)
    assert sign_tag(own) is None
    assert sign_tag(tagged) is not None
    assert tagged.requires_grad == requires_grad


@pytest.mark.parametrize("operation", [lambda h: h.clone(), lambda h: h.detach(), lambda h: h[0]])
def test_tag_does_not_outlive_an_operation(operation):
    assert sign_tag(operation(draw(FLIP)[0])) is None


@pytest.mark.parametrize("rule", [FLIP, None])
def test_tagged_draw_is_freed_without_the_garbage_collector(rule):
    gc.collect()
    gc.disable()
    try:
        h, _ = draw(rule)
        reference = weakref.ref(h)
        del h
        assert reference() is None
    finally:
        gc.enable()


CHANGES = [
    (FLIP, lambda h: h.detach().zero_()),  # torch itself refuses the others where a draw is closed
    (None, lambda h: h.detach().zero_()),
    (None, lambda h: h.mul_(0.5)),
    (None, lambda h: h[0].fill_(0.0)),
    (None, lambda h: h.view(-1).add_(1.0)),
]


@pytest.mark.parametrize(("rule", "change"), CHANGES)
def test_draw_that_was_changed_in_place_is_refused(rule, change):
    h, _ = draw(rule)
    assert sign_tag(h) is not None
    change(h)
    with pytest.raises(RuntimeError, match=r'of "hidden.0" were changed in place.*scale=0.5'):
        affine(h, torch.ones(2, 3))


def test_copies_and_inference_tensors_keep_their_tag():
    h = tag_sign(torch.ones(2, 3).mul_(2).sub_(1), "h", None)
    assert sign_tag(copy.deepcopy(h)).site == "h"
    with torch.inference_mode():
        assert sign_tag(tag_sign(torch.ones(2), "h", None)).site == "h"
