"""The overlap bound of a mixture's divergence: enumeration, both limits, and its gradient."""

import itertools
import math

import pytest
import torch

from bayes_sbn.distributions.sign_overlap import log_overlaps, overlap_correction


def states(number):
    return torch.tensor(list(itertools.product((-1.0, 1.0), repeat=number)))


def component_log_probs(natural):
    """``ln q_c(w)`` of every joint state, (C, 2^n)."""
    return torch.nn.functional.logsigmoid(2 * natural[:, None] * states(natural.shape[1])).sum(-1)


def mean_field_divergences(natural, prior):
    log_q = component_log_probs(natural)
    log_p = component_log_probs(prior[None])
    return (log_q.exp() * (log_q - log_p)).sum(1)


def true_divergence(log_weights, natural, prior):
    log_q = torch.logsumexp(log_weights[:, None] + component_log_probs(natural), 0)
    return (log_q.exp() * (log_q - component_log_probs(prior[None])[0])).sum()


def bound(log_weights, natural, prior):
    means = log_weights.exp() @ mean_field_divergences(natural, prior)
    return means + overlap_correction(log_weights, log_overlaps([natural]))


def test_overlaps_are_the_sums_of_roots():
    natural = 1.5 * torch.randn(4, 6)
    roots = (component_log_probs(natural) / 2).exp()
    torch.testing.assert_close(log_overlaps([natural]).exp(), roots @ roots.T, rtol=0, atol=1e-12)
    parts = [natural[:, :2].reshape(4, 1, 2), natural[:, 2:].reshape(4, 2, 2)]
    for gradient in ("natural", "euclidean"):
        split = log_overlaps(parts, gradient=gradient)
        torch.testing.assert_close(split, log_overlaps([natural]), rtol=0, atol=1e-12)


def test_the_bound_lies_between_the_divergence_and_the_mean_field_one():
    prior = torch.randn(6) / 2
    for spread in (0.1, 0.5, 1.5, 4.0):
        natural = spread * torch.randn(3, 6)
        log_weights = torch.randn(3).log_softmax(0)
        upper = log_weights.exp() @ mean_field_divergences(natural, prior)
        found = bound(log_weights, natural, prior)
        assert true_divergence(log_weights, natural, prior) < found < upper


def test_the_bound_is_exact_where_components_agree_and_where_they_are_disjoint():
    prior, log_weights = torch.randn(5) / 2, torch.tensor([0.2, 0.3, 0.5]).log()
    same = torch.randn(1, 5).expand(3, 5)
    assert float(overlap_correction(log_weights, log_overlaps([same]))) == pytest.approx(
        0, abs=1e-15
    )
    found = bound(log_weights, same, prior)
    torch.testing.assert_close(found, true_divergence(log_weights, same, prior))
    disjoint = 25.0 * torch.tensor([[1.0, 1, 1, 1, 1], [-1, -1, 1, 1, 1], [1, 1, -1, -1, -1]])
    correction = overlap_correction(log_weights, log_overlaps([disjoint]))
    entropy = -(log_weights.exp() * log_weights).sum()
    torch.testing.assert_close(correction, -entropy, rtol=0, atol=1e-10)
    found = bound(log_weights, disjoint, prior)
    torch.testing.assert_close(found, true_divergence(log_weights, disjoint, prior))


def test_equal_weights_of_disjoint_components_save_the_log_of_their_number():
    natural = 25.0 * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    equal = torch.full((4,), -math.log(4))
    found = overlap_correction(equal, log_overlaps([natural]))
    assert float(found) == pytest.approx(-math.log(4), abs=1e-10)


def test_the_gradient_in_the_means_is_that_of_automatic_differentiation():
    start = torch.randn(3, 2, 3)
    logits = torch.randn(3)
    gradients = []
    for gradient in ("natural", "euclidean"):
        leaf, weights = start.clone().requires_grad_(), logits.clone().requires_grad_()
        overlaps = log_overlaps([leaf], gradient=gradient)
        overlap_correction(weights.log_softmax(0), overlaps).backward()
        gradients.append((leaf.grad, weights.grad))
    (natural, weights), (euclidean, same_weights) = gradients
    torch.testing.assert_close(natural * (1 - start.tanh() ** 2), euclidean, rtol=0, atol=1e-12)
    torch.testing.assert_close(weights, same_weights, rtol=0, atol=1e-12)
    step = 1e-6
    for place in ((0, 0, 1), (2, 1, 2)):
        shifted = []
        for sign in (1, -1):
            moved = start.clone()
            moved[place] += sign * step
            shifted.append(overlap_correction(logits.log_softmax(0), log_overlaps([moved])))
        slope = (shifted[0] - shifted[1]) / (2 * step)
        torch.testing.assert_close(euclidean[place], slope, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("size", [8.0, 60.0, 1e4])
def test_values_and_gradients_are_finite_far_out_in_single_precision(size):
    signs = torch.where(torch.randn(3, 50) < 0, -1.0, 1.0)
    leaf = (size * signs).float().requires_grad_()
    found = overlap_correction(torch.full((3,), -math.log(3)), log_overlaps([leaf]))
    found.backward()
    assert float(found.detach()) == pytest.approx(-math.log(3), rel=1e-6)
    assert torch.isfinite(leaf.grad).all()
