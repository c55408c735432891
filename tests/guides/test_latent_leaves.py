"""Leaves that are quantiles of a noise law: the same posterior and gradients as natural ones."""

from contextlib import nullcontext

import numpy as np
import pyro
import pytest
import torch
from scipy import stats
from torch.distributions import kl_divergence

import bayes_sbn as sbn
from bayes_sbn.dual import NATURAL, latent_of, leaf_of, limit_of, natural_of
from bayes_sbn.noise import Gaussian, Logistic, Noise, Triangular, Uniform, get_noise
from tests.estimators.conformance import NAMES, given_step, network
from tests.oracle_noise import NOISES
from tests.pyro_networks import assert_same_gradient

LAWS = [*NOISES, Uniform(0.3), Gaussian(2.5)]
BOUNDED = [Uniform(), Triangular(2.0)]
SCIPY = {
    "logistic": stats.logistic,
    "gaussian": stats.norm,
    "laplace": stats.laplace,
    "uniform": stats.uniform(-1, 2),
    "triangular": stats.triang(0.5, loc=-1, scale=2),
}


def guided(noise, **options):
    torch.manual_seed(2)
    model = sbn.models.BinaryMLP(4, [8], 3, num_data=20)
    return model, sbn.guides.AutoSignBernoulli(model, noise=noise, **options)


@pytest.mark.parametrize("law", LAWS)
def test_maps_are_those_of_scipy_and_each_others_inverse(law):
    noise = get_noise(law)
    lam = torch.linspace(-7, 7, 57)
    eta = latent_of(lam, noise)
    p = 1 / (1 + np.exp(-2 * lam.numpy()))
    np.testing.assert_allclose(eta, noise.scale * SCIPY[noise.name].ppf(p), atol=1e-8)
    np.testing.assert_allclose(natural_of(eta, noise), lam, atol=1e-8)
    assert torch.equal(latent_of(-lam, noise), -eta)


@pytest.mark.parametrize("law", LAWS)
def test_limit_is_where_probability_is_certain_to_a_float32_uniform(law):
    noise = get_noise(law)
    p = float(noise.cdf(torch.tensor(-limit_of(noise))))
    assert p == 0 if noise.is_bounded else 2**-24 < p < 2**-23
    assert limit_of(NATURAL) == 8.0


@pytest.mark.parametrize("law", LAWS)
def test_guides_start_at_the_same_probabilities_whatever_the_law(law):
    wanted, (_, guide) = guided(NATURAL)[1], guided(law)
    for site, p in guide.weight_probabilities().items():
        torch.testing.assert_close(p, wanted.weight_probabilities()[site], atol=1e-12, rtol=0)
        noise = guide.noise
        assert torch.equal(noise.cdf(guide.leaf(site).detach()), p)
        assert not torch.allclose(guide.leaf(site), wanted.leaf(site), atol=0.05)


def test_the_default_is_logistic_noise_of_half_the_scale():
    torch.manual_seed(2)
    model = sbn.models.BinaryMLP(4, [8], 3, num_data=20)
    before, (_, guide) = sbn.guides.AutoSignBernoulli(model), guided(Logistic(scale=0.5))
    assert before.noise == guide.noise == NATURAL
    for site in ("hidden.0.weight", "output.weight"):
        assert torch.equal(before.leaf(site), guide.leaf(site))
        # and by its name it has scale 1, the logit
        assert torch.equal(guided("logistic")[1].leaf(site), 2 * guide.leaf(site))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_in_the_mean_for_every_estimator(name):
    wanted = given_step(name, network(), "latent", temperature=0.3)
    for law in NOISES:
        found = given_step(name, network(mirror=law), "latent", temperature=0.3)
        assert found.loss == pytest.approx(wanted.loss, abs=1e-9)
        assert_same_gradient(found.gradients, wanted.gradients, 1e-9)


@pytest.mark.parametrize("law", [Uniform(2.0), "gaussian", "laplace", "triangular"])
def test_euclidean_gradients_are_in_the_leaf(law):
    natural, euclidean = network(mirror=law), network(mirror=law, gradient="euclidean")
    wanted = given_step("exact", natural, "euclidean").gradients
    found = given_step("exact", euclidean, "euclidean").gradients
    for site in (n for n in found if n.endswith("weight_mean")):
        leaf = natural.guide.leaf(site.removesuffix("_mean")).detach()
        slope = 2 * get_noise(law).density(leaf).numpy()
        np.testing.assert_allclose(found[site], slope * wanted[site], atol=1e-10)
        assert np.abs(found[site] - wanted[site]).max() > 1e-3


@pytest.mark.parametrize("beyond", [1.0, 3.0])
@pytest.mark.parametrize("noise", BOUNDED)
@pytest.mark.parametrize("name", NAMES)
def test_certain_weights_give_numbers(name, noise, beyond):
    net = network()
    net.guide = sbn.guides.AutoSignBernoulli(net.model, example=(net.x, net.y), noise=noise)
    for site in net.guide.weight_probabilities():
        leaf = net.guide.leaf(site)
        with torch.no_grad():
            leaf.copy_(torch.where(leaf > 0, 1.0, -1.0) * noise.scale * beyond)
            leaf.view(-1)[0] = 0.5 * noise.scale
    # of certain weights it says that they have no posterior
    words = r"1 - mu\^2 is 0"
    says = pytest.warns(UserWarning, match=words) if name == "bayes_binn" else nullcontext()
    with says:
        found = given_step(name, net, "certain")
    assert np.isfinite(found.loss)
    assert all(np.isfinite(gradient).all() for gradient in found.gradients.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gradient", ["natural", "euclidean"])
@pytest.mark.parametrize("noise", BOUNDED)
def test_scores_entropies_and_divergences_of_certain_bits_are_no_nan(noise, gradient, dtype):
    leaf = torch.tensor([-3.0, -noise.scale, 0.0, noise.scale], dtype=dtype, requires_grad=True)
    law = sbn.SignBernoulli.from_latent(leaf, noise, gradient=gradient)
    prior = sbn.SignBernoulli(logits=torch.full((4,), 0.4, dtype=dtype))
    assert law.probs.tolist() == [0, 0, 0.5, 1]
    for value in (law.entropy().sum(), kl_divergence(law, prior).sum(), law.mean.sum()):
        assert torch.isfinite(value)
        (slope,) = torch.autograd.grad(value, leaf, retain_graph=True)
        assert torch.isfinite(slope).all()
    scores = law.log_prob(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=dtype))
    assert scores.tolist()[:2] == [0.0, -np.inf]
    (slope,) = torch.autograd.grad(scores.sum(), leaf)
    assert not torch.isnan(slope).any()
    uncertain, _ = kl_divergence(law, prior)[2:].split(1)
    assert uncertain.item() == pytest.approx(np.log(np.cosh(0.2)), rel=1e-5)


def test_a_draw_has_the_law_of_the_leaf():
    leaf = torch.linspace(-1, 1, 9)
    law = sbn.SignBernoulli.from_latent(leaf, Uniform())
    u = torch.full((9,), 0.37)
    assert torch.equal(law.draw(u), torch.where(u < (1 + leaf) / 2, 1.0, -1.0))


@pytest.mark.parametrize("law", ["uniform", "gaussian"])
def test_a_real_network_starts_the_same_posterior(law):
    torch.manual_seed(0)
    real = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    guides = []
    for options in ({}, {"noise": law}):
        model = sbn.models.BinaryMLP(4, [8], 3, num_data=20)
        guides.append(sbn.guides.AutoSignBernoulli.from_real(model, real, **options))
    for site, p in guides[0].weight_probabilities().items():
        torch.testing.assert_close(guides[1].weight_probabilities()[site], p)


def test_a_state_is_read_under_its_own_law_alone():
    _, guide = guided(Uniform(0.3))
    state = guide.state_dict()
    _, same = guided(Uniform(0.3), init_scale=0.1)
    same.load_state_dict(state)
    assert torch.equal(same.leaf("output.weight"), guide.leaf("output.weight"))
    for other, words in ((NATURAL, r"Logistic\(scale=0.5\)"), ("uniform", r"Uniform\(scale=1.0\)")):
        with pytest.raises(ValueError, match=rf"quantiles of Uniform\(scale=0.3\), .*{words}"):
            guided(other)[1].load_state_dict(state)
    with pytest.raises(
        ValueError, match=r"Write AutoSignBernoulli\(model, noise=bayes_sbn.noise.L"
    ):
        guide.load_state_dict(guided(NATURAL)[1].state_dict())
    assert "noise" not in guided(NATURAL)[1].state_dict()


def test_equal_laws_have_equal_states():
    guided(Uniform(1.0))[1].load_state_dict(guided(Uniform(1))[1].state_dict())


def test_optimisers_are_told_the_law():
    model, guide = guided("triangular")
    x, y = torch.randn(20, 4), torch.arange(20) % 3
    sbn.TraceEstimator_ELBO("psa").loss_and_grads(model, guide, x, y)
    assert leaf_of(guide.leaf("output.weight")).noise == Triangular()


class Cauchy(Noise):
    """A law of one's own, without more than every law must have."""

    name = "cauchy"

    def _cdf(self, z):
        return 0.5 + torch.atan(z) / np.pi

    def _log_cdf(self, z):
        return torch.log(self._cdf(z))

    def _density(self, z):
        return 1 / (np.pi * (1 + z * z))

    def _quantile(self, p):
        return -1 / torch.tan(np.pi * p)

    def _mean_sign(self, z):
        return 2 * torch.atan(z) / np.pi


@pytest.mark.parametrize("kl", ["loss", "prox"])
def test_a_law_of_ones_own_trains(kl):
    model, guide = guided(Cauchy(0.5))
    x, y = torch.randn(20, 4), torch.arange(20) % 3
    loss = sbn.TraceEstimator_ELBO("psa", temperature="auto", weight_kl=kl == "loss")
    optim = sbn.optim.MirrorDescent({"lr": 0.02, "adaptive": False, "kl": kl})
    svi = pyro.infer.SVI(model, guide, optim, loss=loss)
    losses = [svi.step(x, y) for _ in range(100)]
    assert sum(losses[-20:]) < sum(losses[:20])
    with pytest.raises(ValueError, match="Give a law of your own to the guide"):
        sbn.optim.MirrorDescent({"lr": 0.1, "noise": Cauchy()})


def test_a_fit_is_resumed_from_its_checkpoint(tmp_path):
    x, y = torch.randn(20, 4), torch.arange(20) % 3
    guides = []
    for epochs in ((4,), (2, 4)):
        for number in epochs:
            model, guide = guided(Uniform(2.0))
            sbn.fit(
                model,
                guide,
                (x, y),
                epochs=number,
                optim=sbn.optim.MirrorDescent({"lr": 0.02, "clipping": "lazy"}),
                schedule="constant",
                checkpoint=tmp_path / str(len(epochs)),
                progress=False,
                generator=torch.Generator().manual_seed(0),
            )
        guides.append(guide)
    assert torch.equal(guides[0].leaf("output.weight"), guides[1].leaf("output.weight"))
    model, guide = guided("uniform")
    with pytest.raises(
        ValueError, match=r"another fit: noise of the guide was 'Uniform\(scale=2.0"
    ):
        sbn.fit(
            model,
            guide,
            (x, y),
            epochs=5,
            optim=sbn.optim.MirrorDescent({"lr": 0.02, "clipping": "lazy"}),
            schedule="constant",
            checkpoint=tmp_path / "1",
            progress=False,
        )


def test_an_unknown_law_is_an_error():
    with pytest.raises(ValueError, match="it is one of 'logistic'"):
        guided("cauchy")


def test_particles_share_a_latent_leaf():
    model, guide = guided("uniform")
    x, y = torch.randn(20, 4), torch.arange(20) % 3
    loss = sbn.TraceEstimator_ELBO(
        "psa", num_particles=3, vectorize_particles=True, max_plate_nesting=1
    )
    svi = pyro.infer.SVI(model, guide, sbn.optim.MirrorDescent({"lr": 0.01}), loss=loss)
    assert np.isfinite(svi.step(x, y))
