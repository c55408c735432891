"""A head averaged over redraws of one bit: by literal flips, in all shapes, and what it refuses."""

import pyro.distributions as dist
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.affines import redraw
from bayes_sbn.signs import FlipRule, Redraw, tag_sign

LAWS = {
    "categorical": sbn.AffineCategorical,
    "bernoulli": sbn.AffineBernoulli,
    "normal": lambda pre: sbn.AffineNormal(pre, torch.tensor([0.5, 1.0, 2.0])),
}


SHAPES = {
    "vector": ((5,), (3, 5)),
    "rows": ((4, 5), (3, 5)),
    "particles": ((2, 4, 5), (3, 5)),
    "particles of weights": ((2, 4, 5), (2, 1, 3, 5)),
}


def drawn(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    states = torch.randint(2, shape, generator=generator) * 2.0 - 1.0
    probs = torch.rand(shape, generator=generator)
    rule = FlipRule(rao_blackwell=True, redraw=Redraw(states, lambda: probs))
    return states, probs, tag_sign(states.clone().requires_grad_(), "h", rule)


@pytest.mark.parametrize("size", [1.0, 30.0])
@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", LAWS)
def test_heads_of_every_shape_average_over_literal_flips(kind, shape, signs, size):
    """Also steps too large for exponentials (size 30), and ±1 weights, whose identity is used."""
    states, probs, h = drawn(SHAPES[shape][0])
    generator = torch.Generator().manual_seed(1)
    matrix = size * torch.randn(SHAPES[shape][1], generator=generator)
    leaves = [0.2 + torch.rand(3, generator=generator), torch.randn(3, generator=generator)]
    if signs:
        matrix = torch.where(matrix < 0, -1.0, 1.0)
        leaves[0] = size * leaves[0]
    else:
        leaves.append(matrix)
    for leaf in leaves:
        leaf.requires_grad_()
    batch = states.shape[:-1]
    y = {
        "categorical": torch.randint(3, batch, generator=generator),
        "bernoulli": torch.randint(2, (*batch, 3), generator=generator).double(),
        "normal": torch.randn(*batch, 3, generator=generator),
    }[kind]

    def log_p(x):
        weight = sbn.as_signs(matrix) if signs else matrix
        return LAWS[kind](sbn.affine(x, weight, leaves[1], scale=leaves[0])).log_prob(y)

    g = torch.randn(batch, generator=generator)
    found = log_p(h)
    gradient = torch.autograd.grad((g * found).sum(), leaves)
    up = torch.where(states > 0, probs, 1 - probs)
    literal = torch.zeros(batch)
    for i in range(5):
        flipped = states.clone()
        flipped[..., i] *= -1
        literal = literal + up[..., i] * log_p(states) + (1 - up[..., i]) * log_p(flipped)
    literal = literal / 5
    assert torch.allclose(found, literal, atol=1e-12, rtol=1e-12)
    for a, b in zip(gradient, torch.autograd.grad((g * literal).sum(), leaves), strict=True):
        assert torch.allclose(a, b, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("kind", LAWS)
def test_chunks_do_not_matter(kind, monkeypatch):
    w = torch.randn(3, 5, requires_grad=True)
    y = {"categorical": torch.tensor([0, 1, 2, 0])}.get(kind, torch.ones(4, 3))
    results = []
    for entries in (1, 24, 1 << 22):
        monkeypatch.setattr(redraw, "ENTRIES_PER_BLOCK", entries)
        monkeypatch.setattr(redraw, "LARGEST_STEP", -1.0)
        value = LAWS[kind](sbn.affine(drawn((4, 5))[2], w)).log_prob(y)
        results.append((value, *torch.autograd.grad(value.sum(), w)))
    for value, gradient in results[1:]:
        assert torch.allclose(value, results[0][0], atol=1e-13)
        assert torch.allclose(gradient, results[0][1], atol=1e-13)


def test_user_heads_keep_no_graph_of_their_flips():
    """Each chunk is evaluated once more in the backward pass, and h, its flips once forward."""
    seen = []
    w = torch.randn(5, requires_grad=True)

    def f(states):
        seen.append(states.dim())
        return torch.tanh(states @ w)

    value = sbn.exact_flips(f, drawn((4, 5))[2], chunk_entries=40)
    assert seen == [2, 3, 3, 3]
    value.sum().backward()
    assert seen == [2] + 3 * [3] + 3 * [3]


def test_units_of_convolutions_are_redrawn_where_they_stand():
    states, _, h = drawn((3, 2, 2, 2))
    v = torch.randn(1, 8, requires_grad=True)
    y = torch.tensor([[1.0], [0.0], [1.0]])
    flat = sbn.AffineBernoulli(sbn.affine(sbn.flatten(h, 3), v)).log_prob(y)
    own = sbn.FlipLikelihood(
        lambda s: dist.Bernoulli(logits=s.flatten(-3) @ v.mT).to_event(1), h, event_dim=3
    ).log_prob(y)
    moved = sbn.flatten(sbn.permute(h, (2, 0, 1)), 3)
    columns = v.reshape(2, 2, 2).permute(2, 0, 1).reshape(1, 8)
    by_moved = sbn.AffineBernoulli(sbn.affine(moved, columns)).log_prob(y)
    plain = sbn.AffineBernoulli(sbn.affine(states.flatten(1), v)).log_prob(y)
    assert torch.allclose(flat, own, atol=1e-13)
    assert torch.allclose(flat, by_moved, atol=1e-13)
    assert (flat - plain).abs().max() > 1e-3
    g = [torch.autograd.grad(t.sum(), v)[0] for t in (flat, own, by_moved)]
    assert torch.allclose(g[0], g[1], atol=1e-13)
    assert torch.allclose(g[0], g[2], atol=1e-13)


def test_law_that_is_expanded_is_averaged_in_every_copy():
    w = torch.randn(3, 5)
    for make_law in (
        lambda h: sbn.AffineNormal(sbn.affine(h, w), 1.0),
        lambda h: sbn.FlipLikelihood(lambda s: dist.Normal(s @ w.mT, 1.0).to_event(1), h),
    ):
        law, y = make_law(drawn((1, 5))[2]), torch.randn(4, 3)
        wide = law.expand((4,)).log_prob(y)
        single = torch.cat([law.log_prob(y[n : n + 1]) for n in range(4)])
        assert torch.allclose(wide, single, atol=1e-13)
        assert torch.allclose(wide, law.log_prob(y), atol=1e-13)


def test_draw_that_was_changed_on_the_way_is_refused():
    _, _, h = drawn((4, 5))
    w = torch.randn(3, 5)
    other = tag_sign(-h.detach(), "h", drawn((4, 5))[2]._sbn_sign.flip)
    short = tag_sign(h.detach()[:, :3], "h", h._sbn_sign.flip)
    for x, matrix in ((other, w), (short, w[:, :3])):
        for value in (
            lambda x=x, m=matrix: sbn.AffineNormal(sbn.affine(x, m), 1.0).log_prob(
                torch.ones(4, 3)
            ),
            lambda x=x: sbn.exact_flips(lambda s: s.sum(-1), x),
        ):
            with pytest.raises(ValueError, match=r'draw of site "h" after it was pooled.*"psa"'):
                value()


@pytest.mark.parametrize("how", [sbn.max_pool1d, sbn.average_pool1d])
def test_pooled_layers_are_refused(how):
    pooled = sbn.flatten(how(drawn((3, 2, 4))[2], 2), 2)
    with pytest.raises(ValueError, match=r'draw of site "h" after it was pooled.*"psa"'):
        sbn.AffineNormal(sbn.affine(pooled, torch.randn(2, 4)), 1.0).log_prob(torch.ones(3, 2))


def test_heads_that_read_two_layers_are_refused():
    h, other = drawn((3, 4))[2], torch.ones(3, 4)
    w = torch.randn(2, 4)
    y = torch.tensor([0, 1, 1])
    for head in (sbn.affine(h, w) + sbn.affine(other, w), sbn.affine(other, w) + sbn.affine(h, w)):
        with pytest.raises(ValueError, match="reads more than one layer"):
            sbn.AffineCategorical(head).log_prob(y)
    with pytest.raises(ValueError, match="or one without weights"):
        sbn.AffineNormal(sbn.identity(h), 1.0).log_prob(torch.ones(3, 4))


SAMPLED_HEADS = {
    "categorical": lambda h, w: sbn.AffineCategorical(sbn.affine(h, w)),
    "bernoulli": lambda h, w: sbn.AffineBernoulli(sbn.affine(h, w)),
    "normal": lambda h, w: sbn.AffineNormal(sbn.affine(h, w), 1.0),
    "user": lambda h, w: sbn.FlipLikelihood(lambda s: dist.Normal(s @ w.mT, 1.0).to_event(1), h),
}


@pytest.mark.parametrize("head", SAMPLED_HEADS)
def test_targets_that_were_drawn_from_the_head_are_refused(head):
    h, w = drawn((3, 4))[2], torch.randn(2, 4)
    law = SAMPLED_HEADS[head](h, w)
    target = law.sample()
    with pytest.raises(ValueError, match=r"log_prob\(y\): rao_blackwell=True, and y was drawn"):
        law.log_prob(target)
    law.log_prob(target.clone())  # data that happen to be the same
    plain = SAMPLED_HEADS[head](h.detach(), w)
    plain.log_prob(plain.sample())
