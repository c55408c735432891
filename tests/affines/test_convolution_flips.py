"""Fast flips of convolutions against literal ones: every entry set to +1 and to -1."""

import itertools

import numpy as np
import pytest
import torch

import bayes_sbn.affines.convolution_flips as flips_module
from bayes_sbn.affines import MeanSign
from bayes_sbn.noise import get_noise
from bayes_sbn.signs import FlipRule
from tests.affines.literal_affine import UNITS, unit
from tests.affines.literal_convolution import Maps, maps
from tests.affines.test_flips import KINDS, LargestTensor
from tests.oracle_noise import NOISES, SMOOTH_NOISES

SERIES = FlipRule(real_inputs="series")

every_kind = pytest.mark.parametrize("kind", KINDS)
every_unit = pytest.mark.parametrize(("name", "noise"), UNITS, ids=map("-".join, UNITS))


def gradients(case: Maps, h, g, rule: FlipRule | None = None) -> dict[str, torch.Tensor]:
    """What one backward pass through the convolution gives each flipped operand."""
    pre, x, w = case.affine() if rule is None else case.affine(rule)
    (torch.tensor(g, dtype=x.dtype) * pre.through(h)).sum().backward()
    found = {"x": x.grad, "w": w.grad}
    return {key: gradient for key, gradient in found.items() if gradient is not None}


def assert_literal(case: Maps, name: str = "mean", noise: str = "logistic") -> None:
    """Both kinds of flips of a case equal the literal ones to 1e-12."""
    shape = tuple(case.affine()[0].shape)
    np.testing.assert_allclose(
        case.affine()[0].tensor.detach(), case.value(case.x, case.w), rtol=0, atol=1e-13
    )
    h = unit(name, shape, noise)
    g = np.random.default_rng(2).normal(size=shape)
    of_x, of_w = case.flips(lambda a: g * h.numpy(a))
    found = gradients(case, h.torch, g)
    wanted = {"x": of_x} if case.x_is_sign else {}
    wanted |= {"w": of_w} if case.w_is_sign else {}
    assert set(found) == set(wanted)
    for key, literal in wanted.items():
        assert np.abs(literal).max() > 1e-3
        tolerance = 1e-12 * max(1.0, np.abs(literal).max())
        np.testing.assert_allclose(found[key].numpy(), literal, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"),
    list(itertools.product((1, 2), (0, 1, 2), (1, 2), (1, 2))),
)
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (2, 3)])
@every_kind
def test_flips_of_2d_equal_literal_flips(kind, kernel, stride, padding, dilation, groups):
    reach = max(dilation * (size - 1) + 1 - 2 * padding for size in kernel)
    space = (max(3, reach), max(4, reach + 1))  # with a remainder under stride 2
    case = maps(
        space=space,
        kernel=kernel,
        batch=(1,),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        **KINDS[kind],
    )
    assert_literal(case)


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"),
    list(itertools.product((1, 2), (0, 1, 2), (1, 2), (1, 2))),
)
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@every_kind
def test_flips_of_1d_equal_literal_flips(kind, kernel, stride, padding, dilation, groups):
    reach = dilation * (kernel - 1) + 1 - 2 * padding
    case = maps(
        1,
        space=(max(6, reach),),
        kernel=(kernel,),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        **KINDS[kind],
    )
    assert_literal(case)


@every_kind
def test_flips_with_a_different_step_in_each_dim_equal_literal_flips(kind):
    steps = {"stride": (1, 2), "padding": (2, 1), "dilation": (2, 1)}
    assert_literal(maps(2, **steps, **KINDS[kind]))


@every_unit
@every_kind
def test_flips_of_every_unit_function_equal_literal_flips(kind, name, noise):
    case = maps(3, space=(3, 4), kernel=(2, 2), padding=1, stride=(2, 1), **KINDS[kind])
    assert_literal(case, name, noise)


SHAPES = {
    "one_map": {"batch": ()},
    "one_row": {"batch": (1,)},
    "particles": {"batch": (3, 2), "lead": (3, 1)},
    "particles_share_maps": {"batch": (2,), "lead": (3, 1)},
    "particles_share_weights": {"batch": (3, 2)},
    "particles_share_one_map": {"batch": (), "lead": (3, 1)},
    "particles_of_particles": {"batch": (2, 1, 2), "lead": (3, 1)},
    "one_particle": {"batch": (2,), "lead": (1, 1)},
    "particles_by_the_bias": {"batch": (2,), "bias": (3, 1, 2)},
    "rows_by_the_bias": {"batch": (1,), "lead": (3, 1), "bias": (2, 2)},
}


@pytest.mark.parametrize("name", ["mean", "log_prob"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
@every_kind
def test_flips_for_operands_of_every_shape_equal_literal_flips(kind, shape, groups, name):
    case = maps(
        4, space=(3, 2), kernel=(2, 2), padding=1, groups=groups, **SHAPES[shape], **KINDS[kind]
    )
    assert_literal(case, name)


@pytest.mark.parametrize("channels", [(1, 3), (3, 1), (4, 2), (2, 4)])
@pytest.mark.parametrize("bias", [None, (), (1,), "unit"])
@pytest.mark.parametrize("scale", ["none", "number", "unit"])
@every_kind
def test_flips_for_every_scale_bias_and_width_equal_literal_flips(kind, scale, bias, channels):
    size, out = channels
    groups = 2 if size % 2 == 0 else 1
    case = maps(
        5,
        space=(3, 2),
        kernel=(2, 1),
        batch=(1,),
        channels=size,
        out=out,
        groups=groups,
        scale=scale,
        bias=bias,
        **KINDS[kind],
    )
    assert_literal(case, "mean", "triangular")


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("shape", ["one_map", "particles", "particles_share_maps"])
@pytest.mark.parametrize("entries", [1, 30, 60])
@pytest.mark.parametrize("kind", ["signs_on_reals", "reals_on_signs"])
@pytest.mark.parametrize("name", ["mean", "log_prob"])
def test_flips_in_blocks_equal_literal_flips(name, kind, entries, shape, groups, monkeypatch):
    seen = []
    blocks = flips_module._blocks

    def counted(*arguments):
        for block in blocks(*arguments):
            seen.append(block.x.shape)
            yield block

    monkeypatch.setattr(flips_module, "ENTRIES_PER_BLOCK", entries)
    monkeypatch.setattr(flips_module, "_blocks", counted)
    case = maps(
        6,
        space=(3, 4),
        kernel=(2, 2),
        channels=4,
        padding=1,
        groups=groups,
        **SHAPES[shape],
        **KINDS[kind],
    )
    assert_literal(case, name)
    assert len(seen) > 4  # more blocks than taps
    assert min(shape[-3] for shape in seen) < 4 // groups or shape != "one_map"


@pytest.mark.parametrize("rows", [0, 1])
@every_kind
def test_flips_of_no_rows_and_of_one(kind, rows):
    case = maps(7, batch=(rows,), **KINDS[kind])
    pre, _, _ = case.affine()
    found = gradients(case, MeanSign(get_noise("logistic")), np.ones(pre.shape))
    assert len(found) == (2 if kind == "signs_on_signs" else 1)
    for key, gradient in found.items():
        assert gradient.shape == (case.x if key == "x" else case.w).shape
        assert bool(gradient.abs().sum() > 0) == bool(rows)


@every_unit
@every_kind
def test_flips_in_float32_track_float64(kind, name, noise):
    case = maps(8, padding=1, **KINDS[kind])
    case.scale, case.bias = 0.1, None  # every state is possible: log 0 depends on the type
    results = []
    for dtype in (torch.float64, torch.float32):
        pre, x, w = case.affine(dtype=dtype)
        g = torch.tensor(np.random.default_rng(2).normal(size=pre.shape), dtype=dtype)
        (g * pre.through(unit(name, tuple(pre.shape), noise).at(dtype))).sum().backward()
        results.append([leaf.grad for leaf in (x, w) if leaf.grad is not None])
    for double, single in zip(*results, strict=True):
        assert single.dtype == torch.float32
        assert double.abs().max() > 1e-2
        torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-5)


def test_a_number_for_the_padding_would_be_wrong_at_the_borders():
    # the trap: a weight on a padded 0 moves nothing, but sum gN over all places counts it
    case = maps(9, padding=2, kernel=(3, 3))
    pre, _, w = case.affine()
    h = MeanSign(get_noise("logistic"))
    pre.through(h).sum().backward()
    s = pre.unit_scale
    up, down = (h.difference(pre.tensor.detach(), s, torch.tensor(u)) for u in (1.0, -1.0))
    central, rest = (up + down) / 2, (up - down) / 2
    linear = torch.nn.grad.conv2d_weight(torch.tensor(case.x), w.shape, central, padding=2)
    wrong = 0.5 * (linear + w.detach() * rest.sum((0, 2, 3))[:, None, None, None])
    assert (wrong - w.grad).abs().max() > 0.1


@pytest.mark.parametrize("entries", [1 << 22, 500])
@pytest.mark.parametrize(("name", "noise"), [("mean", "logistic"), ("log_prob", "uniform")])
@pytest.mark.parametrize(
    ("kind", "rule", "is_materialised"),
    [
        ("signs_on_signs", "exact", False),
        ("signs_on_signs", "series", False),
        ("signs_on_reals", "exact", True),
        ("reals_on_signs", "exact", True),
    ],
)
def test_flips_hold_nothing_of_the_size_of_all_flips(
    kind, rule, is_materialised, name, noise, entries, monkeypatch
):
    monkeypatch.setattr(flips_module, "ENTRIES_PER_BLOCK", entries)
    rows, channels, out, side = 3, 6, 8, 7
    case = maps(
        10,
        space=(side, side),
        kernel=(3, 3),
        batch=(rows,),
        channels=channels,
        out=out,
        padding=1,
        scale="number",
        **KINDS[kind],
    )
    pre, x, w = case.affine(FlipRule(real_inputs=rule))
    h = unit(name, tuple(pre.shape), noise).torch
    with LargestTensor() as largest:
        pre.through(h).sum().backward()
    assert (x.grad is not None) == case.x_is_sign
    assert (w.grad is not None) == case.w_is_sign
    units, places = rows * out * side**2, side**2
    if is_materialised:  # of one tap of the kernel at most, and in blocks at most a row's units
        padded = rows * channels * (side + 2) ** 2
        tap = rows * channels * out * places
        assert largest.numel == (tap if entries > 500 else max(units, padded))
    else:
        assert largest.numel <= units


# ±1 weights on real inputs ---------------------------------------------------------------------


@pytest.mark.parametrize("noise", SMOOTH_NOISES)
@pytest.mark.parametrize("size", [0.3, 2.0])
def test_series_errs_within_its_stated_remainder(noise, size):
    case = maps(11, space=(5, 6), kernel=(3, 2), padding=1, stride=(2, 1), x_is_sign=False)
    case.x = size * case.x
    law = get_noise(noise, 1.3)
    g = np.random.default_rng(0).normal(size=case.affine()[0].shape)
    series, exact = (gradients(case, MeanSign(law), g, rule)["w"] for rule in (SERIES, None))
    third = 2 * law.third_derivative_bound / 1.3**3  # h = 2 F - 1
    cubes = torch.nn.grad.conv2d_weight(
        torch.tensor(np.abs(case.x) ** 3),
        case.w.shape,
        torch.tensor(np.abs(g)),
        stride=(2, 1),
        padding=1,
    )
    step = torch.tensor(np.abs(2 * case.scale) ** 3)[:, None, None, None]
    remainder = 0.5 * third * step * cubes / 6
    error = (series - exact).abs()
    assert (error <= remainder + 1e-15).all()
    assert error.max() > 1e-3 * remainder.max()  # it is a series and not the difference


@pytest.mark.parametrize("noise", sorted(set(NOISES) - set(SMOOTH_NOISES)))
def test_series_of_a_noise_with_kinks_is_exact(noise):
    case = maps(12, padding=1, x_is_sign=False)
    h = unit("mean", tuple(case.affine()[0].shape), noise)
    g = np.ones(case.affine()[0].shape)
    series, exact = (gradients(case, h.torch, g, rule)["w"] for rule in (SERIES, None))
    assert torch.equal(series, exact)


def test_series_of_a_quadratic_is_exact():
    case = maps(13, padding=1, groups=2, x_is_sign=False)
    shape = case.affine()[0].shape
    h, g = unit("normal", tuple(shape)), np.random.default_rng(1).normal(size=shape)
    series = gradients(case, h.torch, g, SERIES)["w"]
    np.testing.assert_allclose(series, case.flips(lambda a: g * h.numpy(a))[1], rtol=0, atol=1e-12)


def test_series_holds_nothing_of_the_size_of_all_flips():
    case = maps(14, space=(7, 7), kernel=(3, 3), batch=(3,), channels=6, out=8, x_is_sign=False)
    pre, _, w = case.affine(SERIES)
    with LargestTensor() as largest:
        pre.through(MeanSign(get_noise("logistic"))).sum().backward()
    assert w.grad is not None
    assert largest.numel <= max(case.x.size, case.w.size, 3 * 8 * 49)
