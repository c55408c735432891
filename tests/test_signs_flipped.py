"""Exact flips of any function: against literal flips, in chunks, by the rule of the draw."""

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.signs import FlipRule, tag_sign
from tests.oracle_flips import literal_differences

FLIP = FlipRule()
EVENTS = {"vector": (4,), "map": (2, 3), "volume": (2, 1, 3)}
BATCHES = {"one": (), "rows": (3,), "particles": (2, 3)}


def draw(*shape: int, rule: FlipRule | None = FLIP) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    leaf = torch.randint(2, shape, generator=generator) * 2.0 - 1.0
    leaf.requires_grad_()
    return tag_sign(leaf * 1.0, "h", rule), leaf


def majority(event_dim: int):
    """Neither differentiable nor additive in the bits."""

    def function(h):
        flat = h.reshape(*h.shape[: h.dim() - event_dim], -1)
        code = ((flat > 0).to(h.dtype) * 2.0 ** torch.arange(flat.shape[-1])).sum(-1)
        return torch.sin(3 * code) + (flat.sum(-1) >= 0).to(h.dtype)

    return function


@pytest.mark.parametrize("chunk_entries", [1, 12, 50, 1 << 22])
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("event", EVENTS)
def test_gradient_is_half_of_the_literal_flips(event, batch, chunk_entries):
    shape, rows = EVENTS[event], BATCHES[batch]
    h, leaf = draw(*rows, *shape)
    f = majority(len(shape))
    value = sbn.exact_flips(f, h, event_dim=len(shape), chunk_entries=chunk_entries)
    assert torch.equal(value, f(leaf.detach()))
    g = torch.randn(rows, generator=torch.Generator().manual_seed(4))
    (g * value).sum().backward()
    for row in np.ndindex(*rows):
        wanted = 0.5 * literal_differences(
            lambda x: f(torch.tensor(x)).numpy(), leaf.detach()[row].numpy()
        )
        assert leaf.grad[row].numpy() == pytest.approx(float(g[row]) * wanted, abs=1e-12)


def test_function_sees_flips_as_one_leading_dim_of_bounded_size():
    h, _ = draw(3, 10)
    seen = []

    def f(states):
        seen.append(tuple(states.shape))
        return states.sum(-1)

    sbn.exact_flips(f, h, chunk_entries=4 * 30)
    assert seen == [(3, 10), (4, 3, 10), (4, 3, 10), (2, 3, 10)]
    seen.clear()
    sbn.exact_flips(f, h, chunk_entries=29)
    assert seen == [(3, 10)] + 10 * [(1, 3, 10)]


def test_parameters_that_the_function_closes_over_get_ordinary_gradients():
    h, leaf = draw(5, 4)
    w = torch.randn(4, 2, requires_grad=True)
    sbn.exact_flips(lambda s: torch.tanh(s @ w).sum(-1), h).sum().backward()
    found = w.grad
    w.grad = None
    torch.tanh(leaf.detach() @ w).sum().backward()
    assert torch.equal(found, w.grad)


def test_draw_with_derivatives_is_differentiated_by_autograd():
    h, leaf = draw(5, 4, rule=None)
    calls = []

    def f(states):
        calls.append(states.shape)
        return (states**3).sum(-1)

    sbn.exact_flips(f, h).sum().backward()
    assert torch.equal(leaf.grad, torch.full((5, 4), 3.0))
    assert len(calls) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: draw(5, 4)[0].detach(),
        lambda: tag_sign(torch.ones(5, 4), "h", FLIP),
        lambda: torch.ones(5, 4),
    ],
    ids=["detached", "constant draw", "plain tensor"],
)
def test_states_without_gradient_are_evaluated_once(make):
    calls = []
    sbn.exact_flips(lambda s: calls.append(1) or s.sum(-1), make())
    assert len(calls) == 1


def test_nothing_is_flipped_without_autograd():
    h, _ = draw(5, 4)
    calls = []
    with torch.no_grad():
        sbn.exact_flips(lambda s: calls.append(1) or s.sum(-1), h)
    assert len(calls) == 1


def test_no_rows_and_no_bits_are_no_error():
    for shape in ((0, 4), (3, 0)):
        h, leaf = draw(*shape)
        sbn.exact_flips(lambda s: s.sum(-1), h).sum().backward()
        assert leaf.grad.shape == shape


def test_draw_that_was_rearranged_returns_its_flips():
    (h, leaf), (other, other_leaf) = draw(5, 2, 3), draw(5, 2, 3)
    sbn.exact_flips(majority(1), sbn.flatten(h, 2)).sum().backward()
    sbn.exact_flips(majority(2), other, event_dim=2).sum().backward()
    assert torch.equal(leaf.grad, other_leaf.grad)


def test_flips_of_another_draw_inside_the_function_stay_theirs():
    """A ±1 weight that the function closes over is flipped with h as it is, and h with it."""
    y = torch.tensor([0, 1, 2, 0, 1])

    def gradients(log_prob):
        h, h_leaf = draw(5, 4)
        w, w_leaf = draw(3, 4)
        log_prob(h, lambda s: sbn.AffineCategorical(sbn.affine(s, w, scale=0.3)).log_prob(y))
        return h_leaf.grad, w_leaf.grad

    built_in = gradients(lambda h, f: f(h).sum().backward())
    own = gradients(lambda h, f: sbn.exact_flips(f, h).sum().backward())
    for a, b in zip(own, built_in, strict=True):
        assert torch.allclose(a, b, atol=1e-14, rtol=0)
        assert a.abs().max() > 1e-3


def good(h):
    return h.sum(-1)


ERRORS = {
    "list": (lambda: sbn.exact_flips(good, [1.0]), TypeError, "h is a list"),
    "zero one": (
        lambda: sbn.exact_flips(good, torch.tensor([0.0, 1.0])),
        ValueError,
        r"exact_flips\(function, h\) needs ±1 values: received values in \{0, 1\}.*2 \* x - 1",
    ),
    "half": (
        lambda: sbn.exact_flips(good, torch.tensor([0.5, 1.0])),
        ValueError,
        "needs ±1 values: received 0.5 at index",
    ),
    "event_dim 0": (
        lambda: sbn.exact_flips(good, draw(3, 4)[0], event_dim=0),
        ValueError,
        "event_dim=0; it is the number",
    ),
    "event_dim too large": (
        lambda: sbn.exact_flips(good, draw(3)[0], event_dim=2),
        ValueError,
        r"event_dim=2, but h has shape \(3,\)",
    ),
    "per unit": (
        lambda: sbn.exact_flips(lambda h: h * 2, draw(3, 4)[0]),
        ValueError,
        r"returned shape \(3, 4\) for h of shape \(3, 4\); it must return .* \(3,\)",
    ),
    "sum of all": (
        lambda: sbn.exact_flips(lambda h: h.sum(), draw(3, 4)[0]),
        ValueError,
        r"returned shape \(\)",
    ),
    "counts dims from the left": (
        lambda: sbn.exact_flips(lambda h: h.flatten(1).sum(1), draw(3, 4)[0]),
        ValueError,
        r"returned shape \(4,\) for its flips of shape \(4, 3, 4\); .* from the right",
    ),
    "number": (
        lambda: sbn.exact_flips(lambda h: 1.0, draw(3, 4)[0]),
        TypeError,
        "returned float; it must return a floating point tensor",
    ),
    "integers": (
        lambda: sbn.exact_flips(lambda h: (h > 0).sum(-1), draw(3, 4)[0]),
        TypeError,
        r"returned torch.int64.*value.to\(h.dtype\)",
    ),
    "chunk": (
        lambda: sbn.exact_flips(good, draw(3, 4)[0], chunk_entries=0),
        ValueError,
        "chunk_entries=0",
    ),
    "infinite": (
        lambda: sbn.exact_flips(lambda h: torch.log((h > 0).double()).sum(-1), draw(3, 4)[0]),
        ValueError,
        r"infinite or NaN in row \(\d,\) at h, or where its bit \d is flipped.*score",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_what_to_type(case):
    call, kind, words = ERRORS[case]
    with pytest.raises(kind, match=words):
        call()


def test_draw_that_went_through_another_operation_is_refused():
    h, _ = draw(5, 4)
    value = sbn.exact_flips(lambda s: s.sum(-1), h.reshape(5, 2, 2)[:, 0])
    with pytest.raises(RuntimeError, match='site "h" is differentiated by exact flips'):
        value.sum().backward()
