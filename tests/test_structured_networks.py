"""Networks with skips, pooling and folded normalisation as Pyro models, against enumeration."""

import pyro
import pytest
import torch
from pyro import infer
from pyro.infer import SVI, Predictive, TraceGraph_ELBO
from torch.nn import functional

import bayes_sbn as sbn
from bayes_sbn.estimators import PathSampleAnalytic
from tests.pyro_structured_networks import Structure, StructuredNetwork, assert_same, relative_bias
from tests.test_convolutional_networks import bars

EXACT_PSA = PathSampleAnalytic(real_inputs="exact")
NOISES = ("logistic", "gaussian", "laplace", "uniform", "triangular")


def first(name: str = "kernel") -> tuple:
    """A convolution of the image by a 2 x 2 kernel."""
    return (
        lambda p, x, z: sbn.affine_conv2d(x, p[name]),
        lambda p, x, z: functional.conv2d(x, p[name]),
    )


# the second layer sees the image and, unit by unit, the first layer
SKIP = Structure(
    image=(1, 3, 3),
    units=[(1, 2, 2), (1, 2, 2)],
    hidden=[
        first(),
        (
            lambda p, x, z: (
                sbn.affine_conv2d(x, p["second"]) + sbn.identity(z[0], 3, scale=p["skip"])
            ),
            lambda p, x, z: functional.conv2d(x, p["second"]) + p["skip"] * z[0],
        ),
    ],
    head=(
        lambda p, x, z: sbn.affine(sbn.flatten(z[1], 3), p["head"]),
        lambda p, x, z: z[1].flatten(1) @ p["head"].mT,
    ),
    parameters={"kernel": (1, 1, 2, 2), "second": (1, 1, 2, 2), "skip": (1,), "head": (3, 4)},
)

# three layers; the third sees the second through ±1 weights and, unit by unit, the first
RESIDUAL = Structure(
    image=(3,),
    units=[(2,), (2,), (2,)],
    hidden=[
        (
            lambda p, x, z: sbn.affine(x, p["first"]),
            lambda p, x, z: x @ p["first"].mT,
        ),
        (
            lambda p, x, z: sbn.affine(z[0], p["second"]),
            lambda p, x, z: z[0] @ p["second"].mT,
        ),
        (
            lambda p, x, z: sbn.affine(z[1], p["w"], scale=p["scale"]) + sbn.identity(z[0]),
            lambda p, x, z: p["scale"] * (z[1] @ p["w"].mT) + z[0],
        ),
    ],
    head=(
        lambda p, x, z: sbn.affine(z[2], p["head"]),
        lambda p, x, z: z[2] @ p["head"].mT,
    ),
    parameters={"first": (2, 3), "second": (2, 2), "scale": (2,), "head": (3, 2)},
    signs={"w": (2, 2)},
)

# eight bits of a 2 x 4 map averaged by fours, then the head
AVERAGE = Structure(
    image=(1, 3, 5),
    units=[(1, 2, 4)],
    hidden=[first()],
    head=(
        lambda p, x, z: sbn.affine(sbn.flatten(sbn.average_pool2d(z[0], 2), 3), p["head"]),
        lambda p, x, z: functional.avg_pool2d(z[0], 2).flatten(1) @ p["head"].mT,
    ),
    parameters={"kernel": (1, 1, 2, 2), "head": (3, 2)},
)

# a unit with ±1 weights on averages by twos, then the head
AVERAGE_UNIT = Structure(
    image=(1, 3, 4),
    units=[(1, 2, 3), (1, 1, 1)],
    hidden=[
        first(),
        (
            lambda p, x, z: sbn.affine_conv2d(
                sbn.average_pool2d(z[0], (2, 1)), p["w"], scale=p["scale"]
            ),
            lambda p, x, z: (
                p["scale"] * functional.conv2d(functional.avg_pool2d(z[0], (2, 1)), p["w"])
            ),
        ),
    ],
    head=(
        lambda p, x, z: sbn.affine(sbn.flatten(z[1], 3), p["head"]),
        lambda p, x, z: z[1].flatten(1) @ p["head"].mT,
    ),
    parameters={"kernel": (1, 1, 2, 2), "scale": (1,), "head": (3, 1)},
    signs={"w": (1, 1, 1, 3)},
)

# a convolution of two channels normalised by constants, with a gain and a shift that train
FOLDED = Structure(
    image=(1, 2, 3),
    units=[(2, 1, 2)],
    hidden=[
        (
            lambda p, x, z: sbn.fold_normalisation(
                sbn.affine_conv2d(x, p["w"], scale=0.5),
                mean=torch.tensor([0.3, -0.2]),
                variance=torch.tensor([0.5, 2.0]),
                gain=p["gain"],
                shift=p["shift"],
            ),
            lambda p, x, z: functional.batch_norm(
                0.5 * functional.conv2d(x, p["w"]),
                torch.tensor([0.3, -0.2]),
                torch.tensor([0.5, 2.0]),
                p["gain"],
                p["shift"],
            ),
        )
    ],
    head=(
        lambda p, x, z: sbn.affine(sbn.flatten(z[0], 3), p["head"]),
        lambda p, x, z: z[0].flatten(1) @ p["head"].mT,
    ),
    parameters={"w": (2, 1, 2, 2), "gain": (2,), "shift": (2,), "head": (3, 4)},
)

# units that see one draw twice, through a weight and as it is; one unit a layer
CHAIN = Structure(
    image=(2,),
    units=[(1,), (1,), (1,)],
    hidden=[
        (
            lambda p, x, z: sbn.affine(x, p["first"]),
            lambda p, x, z: x @ p["first"].mT,
        ),
        (
            lambda p, x, z: sbn.affine(z[0], p["w"], scale=p["s"]) + sbn.identity(z[0]),
            lambda p, x, z: p["s"] * (z[0] @ p["w"].mT) + z[0],
        ),
        (
            lambda p, x, z: sbn.affine(z[1], p["v"]) + sbn.identity(z[1], scale=p["t"]),
            lambda p, x, z: z[1] @ p["v"].mT + p["t"] * z[1],
        ),
    ],
    head=(
        lambda p, x, z: sbn.affine(z[2], p["head"]),
        lambda p, x, z: z[2] @ p["head"].mT,
    ),
    parameters={"first": (1, 2), "s": (1,), "v": (1, 1), "t": (1,), "head": (3, 1)},
    signs={"w": (1, 1)},
)

NETWORKS = {
    "chain": (CHAIN, 6),
    "skip": (SKIP, 1),
    "residual": (RESIDUAL, 0),
    "average": (AVERAGE, 0),
    "average_unit": (AVERAGE_UNIT, 0),
    "folded": (FOLDED, 0),
}


def network(name: str, noise: str = "logistic") -> StructuredNetwork:
    structure, seed = NETWORKS[name]
    return StructuredNetwork(structure, noise, seed)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", ["skip", "chain", "average", "average_unit", "folded"])
def test_psa_equals_the_exact_gradient_where_a_flip_reaches_one_unit(name, noise):
    tiny = network(name, noise)
    assert_same(tiny.expected_gradient(EXACT_PSA), tiny.exact_gradient())


@pytest.mark.parametrize("name", NETWORKS)
def test_score_equals_the_exact_gradient(name):
    assert_same(network(name).expected_gradient("score"), network(name).exact_gradient())


# Relative bias |E[estimate] - exact| / |exact| of each block, logistic noise, two images. Blocks
# that are not listed are exact.
RECORDED_BIAS: dict[tuple[str, str], dict[str, float]] = {
    ("chain", "st"): {
        "first": 0.797541754912699,
        "s": 0.2761834318712654,
        "v": 0.7811815458472753,
        "t": 0.7811815458472758,
        "w": 0.7467439599699028,
    },
    ("skip", "st"): {
        "kernel": 0.14860883139676048,
        "second": 0.2610229253904455,
        "skip": 0.4403221585663114,
    },
    ("residual", "psa"): {"first": 0.04740232672983068, "second": 0.06835959993743004},
    ("residual", "st"): {
        "first": 0.22998254594183595,
        "second": 0.2618935915011598,
        "scale": 0.16983492946498238,
        "w": 0.1992961837267738,
    },
    ("average", "st"): {"kernel": 0.6903184313522048},
    ("average_unit", "st"): {
        "kernel": 0.01900652508318302,
        "scale": 2.1682273929507736,
        "w": 0.11207149714786525,
    },
    ("folded", "st"): {
        "w": 0.41652117413889994,
        "gain": 0.23784701538590286,
        "shift": 0.4507799115860754,
    },
}


@pytest.mark.parametrize(("name", "estimator"), RECORDED_BIAS)
def test_bias_is_the_recorded_one(name, estimator):
    tiny = network(name)
    chosen = EXACT_PSA if estimator == "psa" else estimator
    found = relative_bias(tiny.expected_gradient(chosen), tiny.exact_gradient())
    for block, value in found.items():
        recorded = RECORDED_BIAS[name, estimator].get(block, 0.0)
        assert value == pytest.approx(recorded, rel=1e-8, abs=1e-12), block


@pytest.mark.parametrize("name", NETWORKS)
def test_stock_elbo_runs_the_same_model(name):
    tiny = network(name)
    TraceGraph_ELBO().loss_and_grads(tiny.model, tiny.guide, tiny.x, tiny.y)
    assert all(p.grad.abs().max() > 0 for p in tiny.parameters.values())


# a fit -----------------------------------------------------------------------------------------


def residual_network(x, y=None):
    """Two ±1 convolutions, the second beside its own input, averages, and a real head."""
    w1 = pyro.sample("w1", sbn.SignBernoulli(logits=torch.zeros(16, 1, 3, 3)).to_event(4))
    w2 = pyro.sample("w2", sbn.SignBernoulli(logits=torch.zeros(16, 16, 3, 3)).to_event(4))
    s1 = pyro.param("s1", torch.full((16,), 1 / 3))
    s2 = pyro.param("s2", torch.full((16,), 1 / 12))
    skip = pyro.param("skip", torch.full((16,), 0.5))
    head = pyro.param("head", torch.zeros(3, 144))
    offset = pyro.param("offset", torch.zeros(3))
    with pyro.plate("data", 400, subsample=x, dim=-1):
        h = pyro.sample("h1", sbn.NoisySign(sbn.affine_conv2d(x, w1, scale=s1, padding=1)))
        a = sbn.affine_conv2d(h, w2, scale=s2, padding=1) + sbn.identity(h, 3, scale=skip)
        h = sbn.average_pool2d(pyro.sample("h2", sbn.NoisySign(a)), 2)
        logits = sbn.affine(sbn.flatten(h, 3), head, offset, scale=0.5)
        return pyro.sample("y", sbn.AffineCategorical(logits), obs=y)


def test_residual_network_learns_to_tell_bars_apart():
    torch.manual_seed(0)
    pyro.clear_param_store()
    generator = torch.Generator().manual_seed(1)
    x, y = bars(400, generator)
    x_test, y_test = bars(200, generator)
    guide = sbn.guides.AutoSignBernoulli(residual_network, example=(x[:2],))
    optim = sbn.optim.MirrorDescent({"lr": 0.2, "real": ("Adam", {"lr": 0.02})})
    loss = sbn.TraceEstimator_ELBO("psa", temperature="auto")
    svi = SVI(residual_network, guide, optim, loss=loss)
    for _ in range(40):
        for rows in torch.randperm(400).split(100):
            svi.step(x[rows], y[rows])
    draws = Predictive(residual_network, guide=guide, num_samples=30)(x_test)["y"]
    voted = torch.stack([(draws == c).sum(0) for c in range(3)]).argmax(0)
    assert (voted == y_test).double().mean() > 0.85


def test_enumeration_of_the_guide_gives_the_exact_gradient():
    tiny = network("average")
    guide = infer.config_enumerate(tiny.guide, "parallel")
    elbo = infer.TraceEnum_ELBO(max_plate_nesting=1)
    elbo.differentiable_loss(tiny.model, guide, tiny.x, tiny.y).backward()
    for name, wanted in tiny.exact_gradient().items():
        torch.testing.assert_close(tiny.parameters[name].grad, wanted, rtol=1e-10, atol=1e-10)
