"""Acceptance 1-5: the laws of the noise, and straight-through for activations and weights.

The tests of this folder are numbered 1 to 21: what a network of ±1 weights must do whatever it is
built of.  Each stands by itself; the suites of the parts go deeper.  Expectations are sums over all
states.
"""

import numpy as np
import pytest
import torch
from scipy.integrate import quad

import bayes_sbn as sbn
from bayes_sbn.noise import NOISES, get_noise
from tests.chance import assert_mean, numpy_generator, torch_generator
from tests.oracle_noise import cdf, density
from tests.oracles import sign_states

PRE_ACTIVATIONS = (-0.9, 0.35, 1.6, -2.3, 0.05)


def law_of(a, noise, rows):
    """Units with pre-activations ``a`` (n,), one row a state."""
    return sbn.NoisySign(sbn.affine(torch.ones(rows, 1), a.unsqueeze(1)), noise=noise)


def expected_straight_through(a, noise, loss):
    """``E[ST]`` in ``a``, every state weighed by its probability."""
    a = torch.as_tensor(a).clone().requires_grad_()
    states = torch.tensor(sign_states(len(a)))
    law = law_of(a, noise, len(states))
    drawn = sbn.straight_through(law, torch.where(states > 0, -1.0, 2.0))
    assert bool((drawn.detach() == states).all())
    probability = law.log_prob(states).exp().detach()
    (probability * loss(drawn)).sum().backward()
    return a.grad.numpy()


def exact(a, noise, loss):
    """``dE/da_j = F'(a_j) E[loss(x_j = +1) - loss(x_j = -1)]``, from the law's definition."""
    a = np.asarray(a, dtype=np.float64)
    states = sign_states(len(a))
    up = np.asarray(cdf(noise, a))
    p = np.where(states > 0, up, 1 - up)
    gradient = np.zeros(len(a))
    for j in range(len(a)):
        others = np.delete(p, j, axis=1).prod(1)
        value = loss(torch.tensor(states)).numpy() * states[:, j]
        gradient[j] = float(density(noise, a[j])) * (others * value).sum()
    return gradient


def multilinear(x):
    return (
        1.3 * x[..., 0] * x[..., 1]
        - 0.7 * x[..., 2]
        + x[..., 1] * x[..., 3] * x[..., 4]
        + 0.4 * x[..., 4]
    )


@pytest.mark.parametrize("name", NOISES)
def test_01_density_quantile_and_draws_belong_to_the_law(name):
    law = get_noise(name)
    for low, high in ((-0.8, 0.3), (0.1, 0.95), (-3.0, -1.2)):
        ends = [float(law.cdf(torch.tensor(z))) for z in (low, high)]
        area = quad(lambda z: float(law.density(torch.tensor(z))), low, high, points=(-1, 1))[0]
        if law.is_bounded:
            area = quad(
                lambda z: float(law.density(torch.tensor(z))) if abs(z) < 1 else 0.0,
                max(low, -1),
                max(high, -1),
                points=(0,),
            )[0]
        assert ends[1] - ends[0] == pytest.approx(area, abs=1e-9)
    p = torch.linspace(0.01, 0.99, 99)
    torch.testing.assert_close(law.cdf(law.quantile(p)), p, rtol=0, atol=1e-15)
    a = torch.tensor(PRE_ACTIVATIONS)
    uniform = torch.rand(400_000, len(a), generator=torch_generator(name))
    drawn = law_of(a, name, len(uniform)).draw(uniform)
    assert_mean(drawn, law.mean_sign(a), bounds=(-1, 1), detects=0.03)


@pytest.mark.parametrize("name", NOISES)
def test_02_straight_through_is_exact_for_multilinear_losses(name):
    wanted = exact(PRE_ACTIVATIONS, name, multilinear)
    found = expected_straight_through(PRE_ACTIVATIONS, name, multilinear)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
    assert np.abs(wanted[np.abs(PRE_ACTIVATIONS) < 1]).max() > 0.05


def total_of(x):
    return x.sum(-1)


def test_03_wrong_backwards_have_the_wrong_sign():
    # along a = (3, -1.1) t at t = 0.9, the sum of two bits falls: the identity says it rises
    t, slope = 0.9, np.array([3.0, -1.1])
    assert exact(slope * t, "logistic", total_of) @ slope == pytest.approx(-0.0805, abs=1e-3)
    found = expected_straight_through(slope * t, "logistic", total_of)
    assert found @ slope == pytest.approx(-0.0805, abs=1e-3)
    assert np.ones(2) @ slope == pytest.approx(1.9)
    # logistic draws with the mask of the hard tanh: +0.3006 becomes -1
    a, slope = np.array([1.2, 0.9]), np.array([2.0, -1.0])
    wanted = exact(a, "logistic", total_of) @ slope
    assert wanted == pytest.approx(0.3006, abs=1e-3)
    found = expected_straight_through(a, "logistic", total_of)
    assert found @ slope == pytest.approx(wanted, abs=1e-12)
    with pytest.warns(UserWarning, match="wrong sign"):
        masked = sbn.estimators.StraightThrough(proxy="uniform")
    leaf = torch.tensor(a).requires_grad_()
    law = law_of(leaf, "logistic", 1)
    masked.draw(sbn.Site("h", law), torch.full((1, 2), 0.5)).sum().backward()
    assert leaf.grad @ torch.tensor(slope) == pytest.approx(-1.0)


def test_04_the_bias_falls_with_width():
    bias = {}
    for width in (2, 4, 8, 14):
        errors = []
        for trial in range(20):
            generator = numpy_generator(f"width/{width}/{trial}")
            a = generator.normal(0, 1, width)
            inner = torch.tensor(generator.normal(0, 1, (5, width)) / np.sqrt(width))
            outer = torch.tensor(generator.normal(0, 1, 5))

            def loss(x, inner=inner, outer=outer):
                return torch.nn.functional.softplus(torch.tanh(x @ inner.T) @ outer)

            wanted = exact(a, "logistic", loss)
            found = expected_straight_through(a, "logistic", loss)
            errors.append(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
        bias[width] = float(np.median(errors))
    assert bias[2] > bias[4] > bias[8] > bias[14]
    assert bias[2] >= 3 * bias[14]


def weight_gradients(lam, loss):
    """Of ``E[loss(w)]`` in the means: by the definition, and the mean of identity ST."""
    leaf = torch.tensor(lam).requires_grad_()
    states = torch.tensor(sign_states(len(lam)))
    law = sbn.SignBernoulli.from_natural(leaf)
    probability = law.expand(torch.Size([len(states), len(lam)])).log_prob(states).exp().prod(-1)
    drawn = sbn.straight_through(
        law.expand(torch.Size([len(states), len(lam)])), torch.where(states > 0, -1.0, 2.0)
    )
    (probability.detach() * loss(drawn)).sum().backward()
    mean, values = np.tanh(lam), loss(states).numpy()
    factors = (1 + states.numpy() * mean) / 2
    wanted = [
        0.5 * (np.delete(factors, i, 1).prod(1) * states.numpy()[:, i] * values).sum()
        for i in range(len(lam))
    ]
    return np.array(wanted), leaf.grad.numpy()


def test_05_weights_are_exact_for_multilinear_losses_and_their_bias_elsewhere_is_bounded():
    generator = numpy_generator("weights")
    lam = generator.normal(0, 1, 5)
    wanted, found = weight_gradients(lam, multilinear)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
    errors, cosines = [], []
    for trial in range(20):  # logistic regression on 12 data, labels of a ±1 teacher
        generator = numpy_generator(f"weights/{trial}")
        x = torch.tensor(0.25 * generator.normal(0, 1, (12, 7)))
        teacher = torch.tensor(np.where(generator.uniform(size=7) < 0.5, -1.0, 1.0))
        y = torch.where(x @ teacher < 0, -1.0, 1.0)
        wanted, found = weight_gradients(
            generator.normal(0, 1, 7),
            lambda w, x=x, y=y: torch.nn.functional.softplus(-y * (w @ x.T)).sum(-1),
        )
        norms = np.linalg.norm(found), np.linalg.norm(wanted)
        errors.append(np.linalg.norm(found - wanted) / norms[1])
        cosines.append(found @ wanted / norms[0] / norms[1])
    assert min(errors) > 0.05
    assert max(errors) <= 0.35
    assert np.median(cosines) > 0.97
