"""Fast flips against literal ones: every entry set to +1 and to -1, one after another."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import bayes_sbn.affines.flips as flips_module
from bayes_sbn.affines import MeanSign, SignLogProb, affine
from bayes_sbn.affines.flips import flip_inputs, flip_weights
from bayes_sbn.noise import Logistic, get_noise
from bayes_sbn.signs import FlipRule, tag_sign
from tests.affines.literal_affine import UNITS, Operands, operands, unit

KINDS = {
    "signs_on_signs": {"x_is_sign": True, "w_is_sign": True},
    "signs_on_reals": {"x_is_sign": False, "w_is_sign": True},
    "reals_on_signs": {"x_is_sign": True, "w_is_sign": False},
}
SHAPES = {
    "rows": {},
    "one_row": {"x_shape": (1, 3)},
    "vector": {"x_shape": (3,)},
    "particles": {"x_shape": (2, 4, 3), "w_shape": (2, 1, 2, 3)},
    "particles_share_inputs": {"w_shape": (2, 1, 2, 3)},
    "particles_share_weights": {"x_shape": (2, 4, 3)},
    "particles_share_a_vector": {"x_shape": (3,), "w_shape": (2, 1, 2, 3)},
    "rows_by_the_bias": {"x_shape": (1, 3), "bias": (4, 2)},
    "vector_with_rows_by_the_bias": {"x_shape": (3,), "bias": (4, 2)},
    "particles_by_the_bias": {"bias": (2, 1, 2)},
}

every_kind = pytest.mark.parametrize("kind", KINDS)
every_unit = pytest.mark.parametrize(("name", "noise"), UNITS, ids=map("-".join, UNITS))


def assert_literal(case: Operands, name: str, noise: str = "logistic") -> None:
    """Both kinds of flips of a case equal the literal ones to 1e-12."""
    pre, x, w = case.affine()
    h = unit(name, tuple(pre.shape), noise)
    g = np.random.default_rng(2).normal(size=tuple(pre.shape))
    of_x, of_w = case.flips(lambda a: (g * h.numpy(a)).sum())
    found = []
    if case.x_is_sign:
        found.append((flip_inputs(pre, h.torch, torch.tensor(g)), of_x, x))
    if case.w_is_sign:
        matrix = flip_weights(pre, h.torch, torch.tensor(g))
        found.append((matrix.reshape(w.shape), of_w, w))
    assert found
    for fast, literal, leaf in found:
        assert fast.shape == leaf.shape
        assert np.abs(literal).max() > 1e-3
        tolerance = 1e-12 * max(1.0, np.abs(literal).max())
        np.testing.assert_allclose(fast.numpy(), literal, rtol=0, atol=tolerance)


@every_unit
@every_kind
def test_flips_equal_literal_flips(kind, name, noise):
    assert_literal(operands(**KINDS[kind]), name, noise)


@pytest.mark.parametrize("name", ["mean", "log_prob", "bernoulli", "normal"])
@pytest.mark.parametrize("shape", SHAPES)
@every_kind
def test_flips_equal_literal_flips_for_operands_of_every_shape(kind, shape, name):
    assert_literal(operands(3, **KINDS[kind], **SHAPES[shape]), name)


@pytest.mark.parametrize("bias", [None, (), (1,), (2,)])
@pytest.mark.parametrize("scale", ["none", "number", "unit"])
@every_kind
def test_flips_equal_literal_flips_for_every_scale_and_bias(kind, scale, bias):
    assert_literal(operands(4, **KINDS[kind], scale=scale, bias=bias), "mean", "triangular")


@pytest.mark.parametrize("shape", ["rows", "particles", "rows_by_the_bias"])
@pytest.mark.parametrize("entries", [1, 13, 23])
@pytest.mark.parametrize("kind", ["signs_on_reals", "reals_on_signs"])
@pytest.mark.parametrize("name", ["log_prob", "bernoulli", "normal"])
def test_flips_in_blocks_equal_literal_flips(name, kind, entries, shape, monkeypatch):
    sizes = []
    blocks = flips_module._blocks

    def counted(*arguments):
        for block in blocks(*arguments):
            sizes.append(block[1].shape[-2])
            yield block

    monkeypatch.setattr(flips_module, "ENTRIES_PER_BLOCK", entries)
    monkeypatch.setattr(flips_module, "_blocks", counted)
    assert_literal(operands(5, **KINDS[kind], **SHAPES[shape]), name)
    assert len(sizes) > 1
    assert sum(sizes) == 4


@pytest.mark.parametrize("noise", ["logistic", "gaussian", "uniform"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["signs_on_reals", "reals_on_signs"])
def test_fused_flips_equal_flips_in_blocks(kind, shape, noise, monkeypatch):
    case = operands(10, **KINDS[kind], **SHAPES[shape])
    pre, _, _ = case.affine()
    h, g = MeanSign(get_noise(noise, 0.7)), torch.randn(pre.shape)
    flips = flip_weights if kind == "signs_on_reals" else flip_inputs
    fused = flips(pre, h, g)
    for name in ("fused_input_flips", "fused_weight_flips"):
        monkeypatch.setattr(flips_module, name, lambda *_: None)
    torch.testing.assert_close(flips(pre, h, g), fused, rtol=0, atol=1e-12)


def test_a_noise_of_ones_own_is_not_taken_for_a_known_one():
    class Steeper(Logistic):
        def flip_difference(self, a, c, x):
            return 3 * super().flip_difference(a, c, x)

    pre, _, _ = operands(11, **KINDS["reals_on_signs"]).affine()
    g = torch.randn(pre.shape)
    known, own = (flip_inputs(pre, MeanSign(noise), g) for noise in (Logistic(), Steeper()))
    torch.testing.assert_close(own, 3 * known)


@pytest.mark.parametrize("rows", [0, 1])
@every_kind
def test_flips_of_no_rows_and_of_one(kind, rows):
    case = operands(6, x_shape=(rows, 3), **KINDS[kind])
    pre, x, w = case.affine()
    h, g = MeanSign(get_noise("logistic")), torch.ones(pre.shape)
    for found, leaf in ((flip_inputs(pre, h, g), x), (flip_weights(pre, h, g), w)):
        assert found.shape == leaf.shape
        assert bool(found.abs().sum() > 0) == bool(rows)


@every_unit
@every_kind
def test_flips_in_float32_track_float64(kind, name, noise):
    case = operands(7, **KINDS[kind])
    case.scale, case.bias = 0.2, None  # every state is possible: log 0 depends on the type
    results = []
    for dtype in (torch.float64, torch.float32):
        pre, _, _ = case.affine(dtype=dtype)
        h = unit(name, (4, 2), noise).at(dtype)
        g = torch.tensor(np.random.default_rng(2).normal(size=(4, 2)), dtype=dtype)
        results.append((flip_inputs(pre, h, g), flip_weights(pre, h, g)))
    for double, single in zip(*results, strict=True):
        assert single.dtype == torch.float32
        assert double.abs().max() > 1e-2
        torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("noise", ["uniform", "triangular"])
def test_log_probability_flips_to_an_impossible_state_are_finite(noise):
    # a flip to or from a state of probability 0 costs the log of the smallest normal number
    case = operands(8, scale="number", bias=None)
    case.scale = 1.3  # a in {-3.9, -1.3, 1.3, 3.9}: every state is certain or impossible
    pre, _, _ = case.affine()
    h = unit("log_prob", (4, 2), noise)
    assert h.torch.value(pre.tensor.detach()).eq(-torch.inf).any()
    assert flip_inputs(pre, h.torch, torch.ones(4, 2)).isfinite().all()
    assert_literal(case, "log_prob", noise)


@pytest.mark.parametrize("noise", ["logistic", "gaussian", "laplace"])
def test_log_probability_flips_of_unbounded_noise_are_not_cut_off_in_float32(noise):
    # log P of -2000 is below the log of the smallest float32, yet a number like any other
    x = tag_sign(torch.ones(1, 1, dtype=torch.float32, requires_grad=True), "x", FlipRule())
    w = tag_sign(torch.ones(1, 1, dtype=torch.float32, requires_grad=True), "w", FlipRule())
    pre = affine(x, w, torch.full((1,), -60.0, dtype=torch.float32), scale=20.0)
    law = get_noise(noise)
    h = SignLogProb(law, torch.ones(1, 1, dtype=torch.float32))
    wanted = law.log_cdf(torch.tensor(-40.0)) - law.log_cdf(torch.tensor(-80.0))
    found = flip_inputs(pre, h, torch.ones(1, 1, dtype=torch.float32))
    assert found.item() == pytest.approx(0.5 * wanted.item(), rel=1e-6)


class LargestTensor(TorchDispatchMode):
    """Records how many entries the largest result of any operation has."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, torch.Tensor):
                self.numel = max(self.numel, value.numel())
        return result


@pytest.mark.parametrize(
    ("kind", "rule", "name", "noise", "cubic"),
    [
        *(("signs_on_signs", rule, "mean", "logistic", False) for rule in ("exact", "series")),
        *(("signs_on_signs", rule, "log_prob", "uniform", False) for rule in ("exact", "series")),
        ("signs_on_reals", "exact", "mean", "logistic", False),
        ("reals_on_signs", "exact", "mean", "logistic", False),
        ("signs_on_reals", "exact", "log_prob", "uniform", True),
        ("reals_on_signs", "exact", "log_prob", "uniform", True),
    ],
)
def test_flips_hold_nothing_of_the_size_of_all_flips(kind, rule, name, noise, cubic):
    rows, outputs, inputs = 16, 24, 32
    case = operands(
        9,
        x_shape=(rows, inputs),
        w_shape=(outputs, inputs),
        **KINDS[kind],
        scale="number",
        bias=(outputs,),
    )
    pre, x, w = case.affine(FlipRule(real_inputs=rule))
    h = unit(name, (rows, outputs), noise).torch
    with LargestTensor() as largest:
        pre.through(h).sum().backward()
    assert (x.grad is not None) == case.x_is_sign
    assert (w.grad is not None) == case.w_is_sign
    if cubic:
        assert largest.numel >= rows * outputs * inputs
    else:
        assert largest.numel <= outputs * inputs
