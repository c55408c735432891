"""Mirror descent: the rule on paper, the Pyro optimiser around it, and wrong options."""

import copy

import pytest
import torch
from scipy.optimize import minimize_scalar

import bayes_sbn as sbn
from bayes_sbn.dual import register_leaf
from bayes_sbn.optim.mirror_descent import MirrorDescent
from tests.chance import numpy_generator


def stepped(start, gradients, **options):
    leaf = torch.nn.Parameter(torch.tensor(start))
    optimizer = MirrorDescent([leaf], **options)
    for gradient in gradients:
        leaf.grad = torch.tensor(gradient)
        optimizer.step()
    return leaf.detach(), optimizer


def test_plain_step_is_the_entropic_proximal_step():
    # argmin_p <dL/dp, p> + (1 / lr) KL(p || p_t), with dL/dp = 2 dL/dmu
    generator = numpy_generator("proximal")
    for lam, g, lr in zip(
        generator.normal(0, 1, 30),
        generator.normal(0, 1, 30),
        generator.uniform(0.05, 1, 30),
        strict=True,
    ):
        old = 1 / (1 + torch.exp(torch.tensor(-2 * lam)).item())

        def objective(p, old=old, g=g, lr=lr):
            p = torch.tensor(p)
            kl = p * torch.log(p / old) + (1 - p) * torch.log((1 - p) / (1 - old))
            return float(2 * g * p + kl / lr)

        best = minimize_scalar(
            objective, bounds=(1e-12, 1 - 1e-12), method="bounded", options={"xatol": 1e-12}
        ).x
        new, _ = stepped([lam], [[g]], lr=lr, adaptive=False)
        assert float(torch.sigmoid(2 * new)) == pytest.approx(best, abs=1e-6)
        # the missing factor of two must be noticed
        half, _ = stepped([lam], [[g / 2]], lr=lr, adaptive=False)
        assert abs(float(torch.sigmoid(2 * half)) - best) > 1e-6


def test_adaptive_step_is_adams_rule():
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(5, generator=generator).tolist() for _ in range(7)]
    found, _ = stepped([0.0] * 5, gradients, lr=0.1, betas=(0.8, 0.95), clamp=100.0)
    leaf = torch.nn.Parameter(torch.zeros(5))
    adam = torch.optim.Adam([leaf], lr=0.1, betas=(0.8, 0.95))
    for gradient in gradients:
        leaf.grad = torch.tensor(gradient)
        adam.step()
    assert torch.allclose(found, leaf.detach(), atol=1e-12)


@pytest.mark.parametrize("adaptive", [True, False])
def test_leaves_are_clamped_after_the_step_and_come_back(adaptive):
    up, _ = stepped([7.9], [[-5.0]], lr=1.0, adaptive=adaptive)
    assert float(up) == 8.0
    back, _ = stepped([7.9], [[-5.0], [5.0]], lr=1.0, adaptive=False)
    assert float(back) == 3.0


def test_float32_stays_finite_from_saturation():
    leaf = torch.nn.Parameter(torch.full((100,), 15.0, dtype=torch.float32))
    optimizer = MirrorDescent([leaf], lr=0.5)
    for _ in range(1000):
        law = sbn.SignBernoulli.from_natural(leaf)
        loss = (
            torch.distributions.kl_divergence(
                law, sbn.SignBernoulli(logits=torch.zeros(100, dtype=torch.float32))
            ).sum()
            - 3.0 * law.mean.sum()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert torch.isfinite(leaf).all()
        assert float(leaf.detach().abs().max()) <= 8.0
    # dJ/dmu = lam - 3: the fixed point
    assert torch.allclose(leaf.detach(), torch.full_like(leaf, 3.0), atol=0.05)


def test_coupled_decay_reaches_the_posterior_and_decoupled_does_not():
    # J = -3 mu + KL: lam* = 3; Adam with the KL left to a decoupled decay ends elsewhere
    coupled = torch.nn.Parameter(torch.zeros(1))
    optimizer = MirrorDescent([coupled], lr=0.05)
    decoupled = torch.nn.Parameter(torch.zeros(1))
    adam = MirrorDescent([decoupled], lr=0.05)
    for _ in range(3000):
        coupled.grad = coupled.detach() - 3.0
        optimizer.step()
        decoupled.grad = torch.full((1,), -3.0)
        adam.step()
        decoupled.data.mul_(1 - 0.05)
    assert float(coupled.detach()) == pytest.approx(3.0, abs=1e-3)
    assert abs(float(decoupled.detach()) - 3.0) > 0.5


def test_pyro_optim_tells_dual_leaves_from_the_rest():
    dual, real = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2))
    register_leaf(dual, "posterior.w", is_dual=True)
    register_leaf(real, "scale", is_dual=False)
    optim = sbn.optim.MirrorDescent({"lr": 0.5, "adaptive": False, "real": ("SGD", {"lr": 0.1})})
    dual.grad, real.grad = torch.ones(2), torch.ones(2)
    optim({dual, real})
    assert torch.equal(dual.detach(), torch.full((2,), -0.5))
    assert torch.equal(real.detach(), torch.full((2,), -0.1))
    optim.scale_lr(0.1)
    optim.scale_lr(0.5)
    assert dual.grad is None  # used up
    assert real.grad is None
    dual.grad, real.grad = torch.ones(2), torch.ones(2)
    optim({dual, real})
    assert torch.allclose(dual.detach(), torch.full((2,), -0.75))
    assert torch.allclose(real.detach(), torch.full((2,), -0.15))


def test_a_step_moves_the_parameters_of_its_call_alone():
    # both kinds are stepped by one rule each, whose momenta would move an absent parameter too
    leaves = {name: torch.nn.Parameter(torch.zeros(2)) for name in ("w", "v", "scale", "bias")}
    for name, leaf in leaves.items():
        register_leaf(leaf, name, is_dual=name in ("w", "v"))
        leaf.grad = torch.ones(2)
    optim = sbn.optim.MirrorDescent({"lr": 0.5})
    optim(leaves.values())
    for name in ("v", "bias"):
        leaves[name].grad = torch.zeros(2)
    before = {name: leaf.detach().clone() for name, leaf in leaves.items()}
    leaves["w"].grad = leaves["scale"].grad = torch.ones(2)
    optim([leaves["w"], leaves["scale"]])
    for name, leaf in leaves.items():
        assert torch.equal(leaf.detach(), before[name]) == (name in ("v", "bias")), name
    assert torch.equal(leaves["v"].grad, torch.zeros(2))


def test_states_are_those_of_rules_for_single_parameters():
    torch.manual_seed(3)
    alone, shared = [], []
    for optims, together in ((alone, False), (shared, True)):
        leaves = [torch.nn.Parameter(torch.zeros(3)) for _ in range(4)]
        for k, leaf in enumerate(leaves):
            register_leaf(leaf, f"p{k}", is_dual=k < 2)
        optim = sbn.optim.MirrorDescent({"lr": 0.1})
        for step in range(3):
            for k, leaf in enumerate(leaves):
                leaf.grad = torch.full((3,), float(k + step))
            for call in [leaves] if together else [[leaf] for leaf in leaves]:
                optim(call)
        optims += [optim, leaves]
    for a, b in zip(alone[1], shared[1], strict=True):
        assert torch.equal(a, b)
    assert str(alone[0].get_state()) == str(shared[0].get_state())


def test_clipping_limits_the_gradient():
    leaf = torch.nn.Parameter(torch.zeros(2))
    register_leaf(leaf, "posterior.w", is_dual=True)
    optim = sbn.optim.MirrorDescent({"lr": 1.0, "adaptive": False}, {"clip_value": 0.25})
    leaf.grad = torch.tensor([3.0, -0.1])
    optim([leaf])
    assert torch.allclose(leaf.detach(), torch.tensor([-0.25, 0.1]))


def test_parameters_of_one_path_cannot_be_saved():
    a, b = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    optim = sbn.optim.MirrorDescent({"lr": 0.1})
    for leaf in (a, b):
        register_leaf(leaf, "posterior.w", is_dual=True)
        leaf.grad = torch.ones(1)
    optim([a, b])
    with pytest.raises(ValueError, match=r'two parameters are called "posterior.w"'):
        optim.get_state()


def test_a_nameless_parameter_cannot_be_saved():
    leaf = torch.nn.Parameter(torch.zeros(3))
    leaf.grad = torch.ones(3)
    optim = sbn.optim.MirrorDescent({"lr": 0.1})
    optim([leaf])
    with pytest.raises(ValueError, match=r"a parameter of shape \(3,\) has no name"):
        optim.get_state()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"lr": -1.0}, ValueError, "a step size is a number of at least 0"),
        ({"lr": 0.1, "betas": (1.0, 0.9)}, ValueError, r"both lie in \[0, 1\)"),
        ({"lr": 0.1, "clamp": 0.0}, ValueError, "is positive"),
        (
            {"lr": 0.1, "momentum": 0.9},
            ValueError,
            r"Write betas=\(0.9, 0.999\), or adaptive=False",
        ),
        ({"lr": 0.1, "adaptive": False, "momentum": 1.0}, ValueError, r"it lies in \[0, 1\)"),
        ({"lr": 0.1, "nesterov": True}, TypeError, "options are lr, adaptive, momentum"),
        ({"lr": 0.1, "real": "Adam"}, TypeError, r'write "real": \("Adam"'),
        ({"lr": 0.1, "real": ("Adagrab", {})}, ValueError, "it is one of ASGD"),
        ({"lr": 0.1, "real": ("Adam", {"speed": 1})}, TypeError, "speed"),
    ],
)
def test_wrong_options_are_errors(options, error, words):
    with pytest.raises(error, match=words):
        sbn.optim.MirrorDescent(options)


def test_options_that_are_no_dict_are_an_error():
    with pytest.raises(TypeError, match="the options are a dict"):
        sbn.optim.MirrorDescent(0.1)


def test_state_dict_of_the_torch_optimiser_round_trips():
    _, optimizer = stepped([0.0, 1.0], [[1.0, 2.0]] * 3)
    state = copy.deepcopy(optimizer.state_dict())
    leaf = torch.nn.Parameter(torch.zeros(2))
    other = MirrorDescent([leaf])
    other.load_state_dict(state)
    assert other.state[leaf]["step"] == 3
