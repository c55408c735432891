r"""Brute force: what tiny stochastic binary networks are worth, as literal finite sums.

Float64, definition level, no code shared with the package.  ``tests.oracle_networks`` states the
model and lists its states; here are the sums over them: the three bounds

.. math::
    E_w \sum_n E_z \log p(y_n \mid z, w)
    \;\le\; E_w \sum_n \log E_z p(y_n \mid z, w)
    \;\le\; \log E_w \prod_n E_z p(y_n \mid z, w),

the Kullback-Leibler divergence of the weights, the ELBO, the predictive distribution, and the
exact gradients: automatic differentiation of the finite sum, which ``tests/test_oracles.py``
checks by central differences.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike

from tests.oracle_networks import MAX_BITS as MAX_BITS
from tests.oracle_networks import Array as Array
from tests.oracle_networks import Layer as Layer
from tests.oracle_networks import Net as Net
from tests.oracle_networks import Path as Path
from tests.oracle_networks import Paths as Paths
from tests.oracle_networks import activation_states as activation_states
from tests.oracle_networks import enumerate_datum as enumerate_datum
from tests.oracle_networks import joint_paths as joint_paths
from tests.oracle_networks import log_likelihood as log_likelihood
from tests.oracle_networks import paths as paths
from tests.oracle_networks import pre_activation as pre_activation
from tests.oracle_networks import run as run
from tests.oracle_networks import sign_states as sign_states
from tests.oracle_networks import weight_states as weight_states
from tests.oracle_noise import cdf, density


def expected_log_likelihood(net: Net, x: Array, y: ArrayLike) -> float:
    """(i) ``E_w sum_n E_z log p(y_n | z, w)``, what the estimators' ELBO trains."""
    total = 0.0
    for x_n, y_n in zip(x, np.asarray(y), strict=True):
        q_w, q_z, log_p = enumerate_datum(net, x_n, y_n)
        total += float((q_w[:, None] * q_z * log_p).sum())
    return total


def log_marginals_given_weights(net: Net, x: Array, y: ArrayLike) -> tuple[Array, Array]:
    """q(w) (S_w,) and ``sum_n log E_z p(y_n | z, w)`` (S_w,) of every weight state."""
    total: Array = np.zeros(1)
    q_w: Array = np.ones(1)
    for x_n, y_n in zip(x, np.asarray(y), strict=True):
        q_w, q_z, log_p = enumerate_datum(net, x_n, y_n)
        total = total + np.log((q_z * np.exp(log_p)).sum(1))
    return q_w, total


def log_marginal_given_weights(net: Net, x: Array, y: ArrayLike) -> float:
    """(ii) ``E_w sum_n log E_z p(y_n | z, w)``, at least (i)."""
    q_w, log_p = log_marginals_given_weights(net, x, y)
    return float((q_w * log_p).sum())


def log_marginal(net: Net, x: Array, y: ArrayLike) -> float:
    """(iii) ``log E_w prod_n E_z p(y_n | z, w)``, at least (ii)."""
    q_w, log_p = log_marginals_given_weights(net, x, y)
    return float(np.log((q_w * np.exp(log_p)).sum()))


def weight_posterior(net: Net, x: Array, y: ArrayLike) -> Array:
    """p(w | data) over :func:`weight_states`, the net's means being the prior's: Bayes' rule."""
    q_w, log_p = log_marginals_given_weights(net, x, y)
    joint = q_w * np.exp(log_p)
    return joint / joint.sum()


def predictive_draws(net: Net, x: Array) -> tuple[Array, Array]:
    """Every predictive draw: q(w) q(z | w) (S_w, B, S_z) and p(y | z, w) (S_w, B, S_z, outputs).

    A categorical likelihood gives class probabilities, a bernoulli one P(y_c = 1).
    """
    if net.likelihood == "normal":
        raise ValueError("a normal likelihood has no finite table of probabilities")
    weights, q_w = weight_states(net)
    activations = activation_states(net)
    placeholder = 0 if net.likelihood == "categorical" else np.zeros(net.head.shape[0])
    drawn = [w[:, None] for w in weights]
    q, tables = [], []
    for x_n in x:
        probability, _ = run(net, drawn, [z[None] for z in activations], x_n, placeholder)
        last = activations[-1][None]
        logits = pre_activation(net.head, drawn[-1], last)
        if net.likelihood == "categorical":
            table = np.exp(logits - logits.max(-1, keepdims=True))
            table = table / table.sum(-1, keepdims=True)
        else:
            table = cdf("logistic", logits)
        q.append(q_w[:, None] * probability)
        tables.append(table)
    return np.stack(q, 1), np.stack(tables, 1)


def predictive_mean(net: Net, x: Array) -> Array:
    """``E_w E_z p(y | z, w)``, (B, outputs)."""
    q, table = predictive_draws(net, x)
    return (q[..., None] * table).sum((0, 2))


def kl(mean: ArrayLike, prior_mean: ArrayLike = 0.0) -> float:
    """KL(q || p) of two products of ±1 variables, summed over all joint states."""
    q_mean = np.asarray(mean, dtype=np.float64).reshape(-1)
    p_mean = np.broadcast_to(np.asarray(prior_mean, dtype=np.float64), np.shape(mean)).reshape(-1)
    states = sign_states(len(q_mean))
    q = ((1 + states * q_mean) / 2).prod(1)
    p = ((1 + states * p_mean) / 2).prod(1)
    if np.any((p == 0) & (q > 0)):
        return math.inf
    possible = q > 0
    return float((q[possible] * (np.log(q[possible]) - np.log(p[possible]))).sum())


def kl_gradient(mean: ArrayLike, prior_mean: ArrayLike = 0.0) -> Array:
    """dKL/dmean: ``sum_s dq(s)/dmean_i (log q(s) - log p(s))``, for means inside (-1, 1)."""
    q_mean = np.asarray(mean, dtype=np.float64)
    flat = q_mean.reshape(-1)
    p_flat = np.broadcast_to(np.asarray(prior_mean, dtype=np.float64), q_mean.shape).reshape(-1)
    states = sign_states(len(flat))
    factors = (1 + states * flat) / 2
    q = factors.prod(1)
    log_ratio = np.log(q) - np.log(((1 + states * p_flat) / 2).prod(1))
    gradient = np.empty(len(flat))
    for i in range(len(flat)):
        # d/dmean_i of the product replaces factor i by s_i / 2; the term of d log q sums to 0.
        dq = states[:, i] / 2 * np.delete(factors, i, axis=1).prod(1)
        gradient[i] = (dq * log_ratio).sum()
    return gradient.reshape(q_mean.shape)


def elbo(
    net: Net,
    x: Array,
    y: ArrayLike,
    prior_mean: float = 0.0,
    temperature: float = 1.0,
    data_scale: float = 1.0,
) -> float:
    """``data_scale * (i) - temperature * KL``: data_scale is N / B of a subsampled plate."""
    total_kl = 0.0
    for _, layer in net.maps:
        if layer.weight_mean is not None:
            total_kl += kl(layer.weight_mean, prior_mean)
    return data_scale * expected_log_likelihood(net, x, y) - temperature * total_kl


class _Cdf(torch.autograd.Function):
    """F with the derivative F', both from their definitions."""

    @staticmethod
    def forward(ctx, a, noise, scale):
        ctx.save_for_backward(a)
        ctx.law = noise, scale
        return torch.from_numpy(np.asarray(cdf(noise, a.detach().numpy(), scale)))

    @staticmethod
    def backward(ctx, gradient):
        (a,) = ctx.saved_tensors
        return (
            gradient * torch.from_numpy(np.asarray(density(ctx.law[0], a.numpy(), ctx.law[1]))),
            None,
            None,
        )


def differentiable_cdf(a: torch.Tensor, noise: str, scale: float = 1.0) -> torch.Tensor:
    """F(a) of ``tests.oracle_noise`` for torch tensors, with the derivative F'(a)."""
    return _Cdf.apply(a, noise, scale)


def _log_likelihood(net: Net, logits: torch.Tensor, y, sigma: torch.Tensor | None) -> torch.Tensor:
    if net.likelihood == "categorical":
        return torch.log_softmax(logits, -1)[..., int(y)]
    target = torch.as_tensor(np.asarray(y, dtype=np.float64))
    if net.likelihood == "bernoulli":
        return (target * logits - torch.nn.functional.softplus(logits)).sum(-1)
    if net.likelihood == "poisson":
        return (target * logits - logits.exp() - torch.lgamma(target + 1)).sum(-1)
    assert sigma is not None
    return torch.distributions.Normal(logits, sigma).log_prob(target).sum(-1)


def _differentiable_bound(
    net: Net, parameters: dict[str, torch.Tensor], x: Array, y: ArrayLike, bound: str
) -> torch.Tensor:
    """One of the three bounds as a torch function of the parameters."""
    states, _ = weight_states(net)
    activations = [torch.from_numpy(z) for z in activation_states(net)]
    q_w = torch.ones(len(states[0]), dtype=torch.float64)
    weights = []
    for (name, layer), matrix in zip(net.maps, states, strict=True):
        if layer.is_random:
            drawn = torch.from_numpy(matrix)
            q_w = q_w * ((1 + drawn * parameters[f"{name}.weight_mean"]) / 2).prod(-1).prod(-1)
        else:
            drawn = parameters[f"{name}.weight"].expand(matrix.shape)
        weights.append(drawn[:, None])
    expected = torch.zeros_like(q_w)
    marginal = torch.zeros_like(q_w)
    for x_n, y_n in zip(x, np.asarray(y), strict=True):
        q_z = torch.ones((), dtype=torch.float64)
        state = torch.from_numpy(x_n)
        for k, (name, _) in enumerate(net.maps):
            a = (weights[k] * state[..., None, :]).sum(-1)
            a = parameters[f"{name}.scale"] * a + parameters[f"{name}.bias"]
            if name != "head":
                state = activations[k][None]
                q_z = q_z * differentiable_cdf(state * a, net.noise, net.noise_scale).prod(-1)
        log_p = _log_likelihood(net, a, y_n, parameters.get("sigma"))
        expected = expected + (q_z * log_p).sum(1)
        marginal = marginal + (q_z * log_p.exp()).sum(1).log()
    sums: dict[str, Callable[[], torch.Tensor]] = {
        "expected_log_likelihood": lambda: (q_w * expected).sum(),
        "log_marginal_given_weights": lambda: (q_w * marginal).sum(),
        "log_marginal": lambda: (q_w * marginal.exp()).sum().log(),
    }
    return sums[bound]()


def exact_gradient(
    net: Net, x: Array, y: ArrayLike, bound: str = "expected_log_likelihood"
) -> dict[str, Array]:
    """The gradient of a bound in every parameter, by name.

    Of a ±1 weight it is the derivative in the mean,
    ``dE/dmu = (E[. | w = +1] - E[. | w = -1]) / 2``.
    ``bound`` is the name of one of the three functions above.
    """
    parameters = {
        name: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for name, value in net.parameters.items()
    }
    value = _differentiable_bound(net, parameters, x, y, bound)
    gradients = torch.autograd.grad(value, list(parameters.values()))
    return {name: g.numpy() for name, g in zip(parameters, gradients, strict=True)}


def negative_elbo_gradient(
    net: Net,
    likelihood_gradient: dict[str, Array],
    prior_mean: float = 0.0,
    temperature: float = 1.0,
    data_scale: float = 1.0,
) -> dict[str, Array]:
    """The gradient of ``-elbo`` given that of the expected log-likelihood.

    The latter is :func:`exact_gradient`, or an estimator's expectation or value on one path.
    """
    gradient = {name: -data_scale * g for name, g in likelihood_gradient.items()}
    for name, layer in net.maps:
        if layer.weight_mean is not None:
            gradient[f"{name}.weight_mean"] = gradient[
                f"{name}.weight_mean"
            ] + temperature * kl_gradient(layer.weight_mean, prior_mean)
    return gradient
