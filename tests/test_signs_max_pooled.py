"""Max pooling of ±1 draws: the OR of its bits, and its flips, literally and in networks."""

import itertools

import numpy as np
import pytest
import torch
from pyro.infer import Predictive, Trace_ELBO, TraceGraph_ELBO
from torch.nn import functional

import bayes_sbn as sbn
from bayes_sbn.affines import MeanSign
from bayes_sbn.estimators import PathSampleAnalytic
from bayes_sbn.noise import get_noise
from bayes_sbn.signs import FlipRule, open_sign, sign_tag, tag_sign
from tests.oracle_flips import literal_differences
from tests.pyro_structured_networks import Structure, StructuredNetwork, assert_same, relative_bias

FLIP = FlipRule(real_inputs="exact")
POOLS = {1: sbn.max_pool1d, 2: sbn.max_pool2d}


def pooled_by_definition(x, kernel, stride, padding):
    """+1 where a real cell of a window is +1, window by window, in NumPy."""
    dims = len(kernel)
    space = x.shape[x.ndim - dims :]
    steps = zip(space, kernel, stride, padding, strict=True)
    sizes = [(n + 2 * p - k) // s + 1 for n, k, s, p in steps]
    result = np.empty((*x.shape[: x.ndim - dims], *sizes))
    for place in itertools.product(*map(range, sizes)):
        window = tuple(
            slice(max(0, y * s - p), max(0, y * s - p + k))
            for y, k, s, p in zip(place, kernel, stride, padding, strict=True)
        )
        is_up = (x[(..., *window)] > 0).any(axis=tuple(range(-dims, 0)))
        result[(..., *place)] = np.where(is_up, 1.0, -1.0)
    return result


WINDOWS = {
    "2x2": ((4, 6), (2, 2), (2, 2), (0, 0)),
    "remainder": ((5, 4), (2, 3), (2, 3), (0, 0)),
    "gaps": ((5, 5), (1, 2), (2, 3), (0, 0)),
    "padded": ((4, 5), (2, 3), (2, 3), (1, 1)),
    "overlapping": ((5, 5), (3, 3), (2, 1), (1, 0)),
    "line": ((6,), (2,), (2,), (0,)),
    "line_overlapping": ((6,), (3,), (1,), (1,)),
}
every_window = pytest.mark.parametrize("name", WINDOWS)


def draw(space, batch=(3,), up=0.3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(*batch, 2, *space, generator=generator)
    return torch.where(uniform < up, 1.0, -1.0).requires_grad_()


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
@every_window
def test_pool_is_the_or_of_its_window(name, batch):
    space, *window = WINDOWS[name]
    x = draw(space, batch).detach()
    for given in (x, tag_sign(x, "h", FLIP)):
        pooled = POOLS[len(space)](given, *window)
        assert np.array_equal(pooled, pooled_by_definition(x.numpy(), *window))


@pytest.mark.parametrize("up", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("rule", [FLIP, None])
@every_window
def test_backward_equals_literal_flips(name, rule, up):
    space, *window = WINDOWS[name]
    leaf = draw(space, up=up)
    pooled = POOLS[len(space)](tag_sign(leaf * 1.0, "h", rule), *window)
    assert (sign_tag(pooled).site, sign_tag(pooled).flip) == ("h", rule)
    g = np.random.default_rng(1).normal(size=tuple(pooled.shape))
    (torch.tensor(g) * open_sign(pooled)).sum().backward()
    literal = literal_differences(
        lambda x: (g * pooled_by_definition(x, *window)).sum(), leaf.detach().numpy()
    )
    np.testing.assert_allclose(leaf.grad, 0.5 * literal, rtol=0, atol=1e-13)
    assert np.abs(literal).max() > 0.1 or up == 1.0


@pytest.mark.parametrize("particles", [(), (4,)])
@pytest.mark.parametrize("w_is_sign", [True, False])
@pytest.mark.parametrize("child", ["affine", "affine_conv2d"])
def test_flips_through_a_pool_equal_literal_flips(child, w_is_sign, particles):
    leaf = draw((4, 4), (*particles, 3))
    generator = torch.Generator().manual_seed(1)
    shape = (3, 8) if child == "affine" else (3, 2, 2, 2)
    lead = (*particles, 1) if particles else ()
    w = torch.randn(*lead, *shape, generator=generator)
    w = tag_sign(w.sign(), "w", None) if w_is_sign else w
    law = get_noise("gaussian")

    def ours(x):
        m = sbn.max_pool2d(x, 2)
        return sbn.affine(sbn.flatten(m, 3), w) if child == "affine" else sbn.affine_conv2d(m, w)

    value = ours(tag_sign(leaf * 1.0, "h", FLIP)).through(MeanSign(law))
    g = torch.randn(value.shape, generator=generator)
    (g * value).sum().backward()
    literal = literal_differences(
        lambda x: (g * law.mean_sign(ours(torch.tensor(x)).tensor)).sum().numpy(),
        leaf.detach().numpy(),
    )
    assert np.abs(literal).max() > 0.1
    np.testing.assert_allclose(leaf.grad, 0.5 * literal, rtol=0, atol=1e-12)


# networks --------------------------------------------------------------------------------------


def pooled_network(stride=2, units=None) -> Structure:
    """Eight bits in a 2 x 4 map, their maximum, then a head, perhaps after a dense layer."""
    size = {2: 2, 1: 3}[stride]

    def pooled(z):
        return sbn.flatten(sbn.max_pool2d(z, 2, stride), 3)

    def plain_pooled(z):
        return functional.max_pool2d(z, 2, stride).flatten(1)

    structure = Structure(
        image=(1, 3, 5),
        units=[(1, 2, 4)],
        hidden=[
            (
                lambda p, x, z: sbn.affine_conv2d(x, p["kernel"], p["bias"]),
                lambda p, x, z: functional.conv2d(x, p["kernel"], p["bias"]),
            )
        ],
        head=(
            lambda p, x, z: sbn.affine(pooled(z[0]), p["head"]),
            lambda p, x, z: plain_pooled(z[0]) @ p["head"].mT,
        ),
        parameters={"kernel": (1, 1, 2, 2), "bias": (1,), "head": (3, size)},
    )
    if units is not None:
        structure.units.append((units,))
        structure.hidden.append(
            (
                lambda p, x, z: sbn.affine(pooled(z[0]), p["w"], p["offset"]),
                lambda p, x, z: plain_pooled(z[0]) @ p["w"].mT + p["offset"],
            )
        )
        structure.head = (
            lambda p, x, z: sbn.affine(z[1], p["head"]),
            lambda p, x, z: z[1] @ p["head"].mT,
        )
        structure.parameters |= {"offset": (units,), "head": (3, units)}
        structure.signs = {"w": (units, size)}
    return structure


NETWORKS = {
    "pool_head": (pooled_network(), 2),
    "pool_one_unit_head": (pooled_network(units=1), 1),
    "overlapping_pool_head": (pooled_network(stride=1), 0),
    "pool_two_units_head": (pooled_network(units=2), 2),
}
EXACT_PSA = PathSampleAnalytic(real_inputs="exact")
NOISES = ("logistic", "gaussian", "laplace", "uniform", "triangular")


def network(name: str, noise: str = "logistic") -> StructuredNetwork:
    structure, seed = NETWORKS[name]
    return StructuredNetwork(structure, noise, seed)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", ["pool_head", "pool_one_unit_head"])
def test_psa_equals_the_exact_gradient_where_windows_do_not_overlap(name, noise):
    pooled = network(name, noise)
    assert_same(pooled.expected_gradient(EXACT_PSA), pooled.exact_gradient())


@pytest.mark.parametrize("name", NETWORKS)
def test_score_equals_the_exact_gradient(name):
    assert_same(network(name).expected_gradient("score"), network(name).exact_gradient())


# Relative bias |E[estimate] - exact| / |exact| of each block, logistic noise, two images. Blocks
# that are not listed are exact.
RECORDED_BIAS: dict[tuple[str, str], dict[str, float]] = {
    ("pool_head", "st"): {"kernel": 0.16317565618782903, "bias": 0.11474219335124371},
    ("pool_one_unit_head", "st"): {
        "kernel": 0.515548588219229,
        "bias": 0.30750559316705245,
        "offset": 0.007343502795055621,
        "w": 0.10451769714661031,
    },
    ("overlapping_pool_head", "psa"): {
        "kernel": 0.021819972411731194,
        "bias": 0.014900169089816671,
    },
    ("overlapping_pool_head", "st"): {"kernel": 0.7633103114943158, "bias": 0.3964394558213456},
    ("pool_two_units_head", "psa"): {"kernel": 0.11236388753859707, "bias": 0.038569904124224966},
    ("pool_two_units_head", "st"): {
        "kernel": 1.0220096020418432,
        "bias": 0.6962672804743663,
        "offset": 0.32621018431381216,
        "w": 0.5494876459974858,
    },
}


@pytest.mark.parametrize(("name", "estimator"), RECORDED_BIAS)
def test_bias_is_the_recorded_one(name, estimator):
    pooled = network(name)
    chosen = EXACT_PSA if estimator == "psa" else estimator
    found = relative_bias(pooled.expected_gradient(chosen), pooled.exact_gradient())
    for block, value in found.items():
        recorded = RECORDED_BIAS[name, estimator].get(block, 0.0)
        assert value == pytest.approx(recorded, rel=1e-8, abs=1e-12), block


@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceGraph_ELBO])
def test_stock_elbos_and_predictions_pool_untagged_draws(elbo):
    pooled = network("pool_one_unit_head")
    pooled.model(pooled.x)
    loss = elbo().loss_and_grads(pooled.model, pooled.guide, pooled.x, pooled.y)
    assert np.isfinite(loss)
    assert all(p.grad.abs().max() > 0 for p in pooled.parameters.values())
    labels = Predictive(pooled.model, guide=pooled.guide, num_samples=3)(pooled.x)["y"]
    assert labels.shape == (3, 2)


# errors ----------------------------------------------------------------------------------------


def test_values_that_are_not_signs_are_refused():
    with pytest.raises(
        ValueError,
        match=r"max_pool2d\(x, kernel_size\): x has the value 0.5; this pools the ±1 draw of a "
        r"site. For real values write torch.nn.functional.max_pool2d\(x, kernel_size\)",
    ):
        sbn.max_pool2d(torch.full((1, 2, 2), 0.5), 2)


def test_wrong_arguments_are_refused():
    x = torch.ones(3, 2, 4, 4)
    with pytest.raises(TypeError, match=r"max_pool1d\(x, kernel_size\): x is list; it must be a f"):
        sbn.max_pool1d([1.0], 2)
    with pytest.raises(TypeError, match=r"x is torch.int64; it must be a floating-point"):
        sbn.max_pool2d(torch.ones(1, 2, 2).long(), 2)
    with pytest.raises(ValueError, match=r"it must end in \(C, H, W\). Give maps a channel axis"):
        sbn.max_pool2d(torch.ones(2, 2), 2)
    for size in (0, 1.5, "2", (2, 2, 2), True):
        with pytest.raises(ValueError, match=r"kernel_size is .*integer of at least 1 or 2 of th"):
            sbn.max_pool2d(x, size)
    with pytest.raises(ValueError, match=r"stride is 0; it must be an integer of at least 1"):
        sbn.max_pool2d(x, 2, 0)
    with pytest.raises(ValueError, match=r"windows of size \(5, 5\) with padding \(0, 0\) do not"):
        sbn.max_pool2d(x, 5)
    with pytest.raises(ValueError, match=r"the padding at most half of it. Use a smaller kernel_s"):
        sbn.max_pool2d(x, 2, padding=2)
