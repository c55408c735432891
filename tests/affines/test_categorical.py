"""The categorical log-likelihood of an affine, and its flips against literal ones."""

import numpy as np
import pytest
import torch
from scipy import special

import bayes_sbn.affines.categorical as categorical_module
from bayes_sbn.affines import categorical_log_likelihood
from tests.affines.literal_affine import Operands, operands
from tests.affines.test_flips import LargestTensor

CLASSES = 3
SHAPES = {
    "rows": {},
    "one_row": {"x_shape": (1, 4)},
    "vector": {"x_shape": (4,)},
    "particles": {"x_shape": (2, 5, 4), "w_shape": (2, 1, CLASSES, 4)},
    "particles_share_inputs": {"w_shape": (2, 1, CLASSES, 4)},
    "particles_share_weights": {"x_shape": (2, 5, 4)},
    "particles_share_a_vector": {"x_shape": (4,), "w_shape": (2, 1, CLASSES, 4)},
    "rows_by_the_bias": {"x_shape": (1, 4), "bias": (5, CLASSES)},
}
KINDS = {
    "signs_on_signs": {"x_is_sign": True, "w_is_sign": True},
    "signs_on_reals": {"x_is_sign": False, "w_is_sign": True},
    "reals_on_signs": {"x_is_sign": True, "w_is_sign": False},
}

every_kind = pytest.mark.parametrize("kind", KINDS)
every_shape = pytest.mark.parametrize("shape", SHAPES)


def logits(kind: str = "signs_on_signs", shape: str = "rows", seed: int = 0, **other) -> Operands:
    chosen = {"x_shape": (5, 4), "w_shape": (CLASSES, 4), "bias": (CLASSES,)}
    return operands(seed, **{**chosen, **KINDS[kind], **SHAPES[shape], **other})


def log_likelihood(a, label):
    batch = np.broadcast_shapes(np.shape(label), a.shape[:-1])
    log_p = np.broadcast_to(special.log_softmax(a, -1), (*batch, a.shape[-1]))
    return np.take_along_axis(log_p, np.broadcast_to(label, batch)[..., None], -1)[..., 0]


def assert_literal(case: Operands, label: np.ndarray, tolerance: float = 1e-12) -> None:
    """The gradient of both operands of a weighted sum over rows equals the literal flips."""
    pre, x, w = case.affine()
    value = categorical_log_likelihood(pre, torch.tensor(label))
    g = np.random.default_rng(2).normal(size=tuple(value.shape))
    wanted = log_likelihood(case.value(case.x, case.w), label)
    np.testing.assert_allclose(value.detach(), np.broadcast_to(wanted, g.shape), atol=1e-12)
    (torch.tensor(g) * value).sum().backward()

    def objective(a):
        return (g * log_likelihood(a, label)).sum()

    for leaf, literal in zip((x, w), case.flips(objective), strict=True):
        if leaf.requires_grad:
            assert np.abs(literal).max() > 1e-3
            bound = tolerance * max(1.0, np.abs(literal).max())
            np.testing.assert_allclose(leaf.grad, literal, rtol=0, atol=bound)
    assert x.requires_grad == case.x_is_sign
    assert w.requires_grad == case.w_is_sign


def labels(case: Operands, seed: int = 1) -> np.ndarray:
    shape = case.value(case.x, case.w).shape[:-1]
    return np.random.default_rng(seed).integers(0, CLASSES, shape)


@every_shape
@every_kind
def test_flips_of_a_categorical_equal_literal_flips(kind, shape):
    case = logits(kind, shape)
    assert_literal(case, labels(case))


@every_shape
@pytest.mark.parametrize("kind", ["signs_on_signs", "reals_on_signs"])
def test_entrywise_flips_equal_literal_flips(kind, shape, monkeypatch):
    calls = []
    entrywise = categorical_module._flip_inputs_entrywise
    monkeypatch.setattr(categorical_module, "LARGEST_STEP", 0.0)
    monkeypatch.setattr(
        categorical_module,
        "_flip_inputs_entrywise",
        lambda *a: calls.append(a) or entrywise(*a),
    )
    case = logits(kind, shape)
    assert_literal(case, labels(case))
    assert len(calls) == 1


@pytest.mark.parametrize("shape", ["rows", "particles", "rows_by_the_bias"])
@pytest.mark.parametrize("entries", [1, 13, 50])
def test_entrywise_flips_in_blocks_equal_literal_flips(entries, shape, monkeypatch):
    calls = []
    differences = categorical_module._input_differences
    monkeypatch.setattr(categorical_module, "LARGEST_STEP", 0.0)
    monkeypatch.setattr(categorical_module, "ENTRIES_PER_BLOCK", entries)
    monkeypatch.setattr(
        categorical_module,
        "_input_differences",
        lambda *a: calls.append(a[0].shape[-2]) or differences(*a),
    )
    case = logits("reals_on_signs", shape)
    assert_literal(case, labels(case))
    assert len(calls) > 1
    assert sum(calls) == 5


@pytest.mark.parametrize("scale", ["none", "number", "unit"])
@pytest.mark.parametrize("bias", [None, (), (1,), (CLASSES,)])
@every_kind
def test_flips_of_a_categorical_for_every_scale_and_bias(kind, bias, scale):
    case = logits(kind, seed=3, scale=scale, bias=bias)
    assert_literal(case, labels(case))


@pytest.mark.parametrize("size", [7.4, 7.6, 300.0])
def test_flips_of_huge_steps_equal_literal_flips(size):
    # on both sides of the largest step of the matrix product, and where its terms would overflow
    case = logits("signs_on_signs", scale="none", bias=None)
    case.scale = size
    assert_literal(case, labels(case))


@pytest.mark.parametrize("size", [7.4, 30.0])
def test_flips_of_large_steps_in_float32_track_float64(size):
    case = logits("signs_on_signs", seed=5, scale="none")
    case.scale = size
    label = torch.tensor(labels(case))
    gradients = []
    for dtype in (torch.float64, torch.float32):
        pre, x, w = case.affine(dtype=dtype)
        categorical_log_likelihood(pre, label).sum().backward()
        gradients.append((x.grad.double(), w.grad.double()))
    for double, single in zip(*gradients, strict=True):
        torch.testing.assert_close(single, double, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("label_shape", [(), (5,), (1, 5), (4, 5), (4, 1)])
def test_labels_are_broadcast_against_the_rows(label_shape):
    case = logits()
    assert_literal(case, np.random.default_rng(0).integers(0, CLASSES, label_shape))


def test_flips_of_no_rows_are_zero():
    pre, x, w = logits(x_shape=(0, 4)).affine()
    value = categorical_log_likelihood(pre, torch.zeros(0, dtype=torch.long))
    assert value.shape == (0,)
    value.sum().backward()
    assert x.grad.shape == (0, 4)
    assert w.grad.shape == (CLASSES, 4)
    assert not w.grad.any()


def test_flips_of_one_class_are_zero():
    pre, x, w = operands(x_shape=(5, 4), w_shape=(1, 4), bias=None).affine()
    categorical_log_likelihood(pre, torch.zeros(5, dtype=torch.long)).sum().backward()
    assert x.grad.abs().max() < 1e-12
    assert w.grad.abs().max() < 1e-12


def test_flips_of_a_categorical_hold_nothing_of_the_size_of_all_flips():
    rows, inputs, classes = 20, 24, 12
    case = operands(x_shape=(rows, inputs), w_shape=(classes, inputs), bias=(classes,))
    pre, x, w = case.affine()
    with LargestTensor() as largest:
        categorical_log_likelihood(pre, torch.arange(rows) % classes).sum().backward()
    assert x.grad is not None
    assert w.grad is not None
    assert largest.numel <= rows * inputs


def test_scale_and_bias_of_a_categorical_are_differentiated_plainly():
    case = logits()
    label = torch.tensor(labels(case))
    gradients = []
    for flipped in (True, False):
        pre, *leaves = case.affine()
        pre.bias = pre.bias.clone().requires_grad_()
        pre.scale = pre.scale.clone().requires_grad_()
        if flipped:
            value = categorical_log_likelihood(pre, label)
        else:
            x, w = (leaf.detach() for leaf in leaves)
            a = pre.scale * (x @ w.mT) + pre.bias
            value = torch.log_softmax(a, -1).gather(-1, label[:, None])
        value.sum().backward()
        gradients.append((pre.bias.grad, pre.scale.grad))
    for found, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
        assert wanted.abs().max() > 0.1
