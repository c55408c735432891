"""One loss for each particle: their mean is the loss that is trained."""

import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.estimators import PathSampleAnalytic
from tests.estimators.conformance import network, uniforms_of


@pytest.mark.parametrize("name", ["psa", "score", "disarm", "exact psa"])
def test_losses_of_particles_are_those_of_single_runs(name):
    chosen = PathSampleAnalytic(real_inputs="exact") if name == "exact psa" else name
    net = network()
    elbo = sbn.TraceEstimator_ELBO(
        chosen, num_particles=3, vectorize_particles=True, max_plate_nesting=1
    )
    uniforms = uniforms_of(net, "particle losses", 3)
    with sbn.force_draws({}, uniforms=uniforms):
        losses = elbo.particle_losses(net.model, net.guide, net.x, net.y)
    assert losses.shape == (3,)
    leaves = list(net.parameters.values())
    together = torch.autograd.grad(losses, leaves, torch.eye(3), is_grads_batched=True)
    single = sbn.TraceEstimator_ELBO(chosen)
    for k in range(3):
        with sbn.force_draws({}, uniforms={site: u[k] for site, u in uniforms.items()}):
            loss = single.differentiable_loss(net.model, net.guide, net.x, net.y)
        torch.testing.assert_close(losses[k], loss, rtol=1e-12, atol=1e-12)
        for batched, alone in zip(together, torch.autograd.grad(loss, leaves), strict=True):
            torch.testing.assert_close(batched[k], alone, rtol=1e-10, atol=1e-10)


def test_losses_of_particles_average_to_the_loss():
    net = network()
    elbo = sbn.TraceEstimator_ELBO(
        "psa", num_particles=4, vectorize_particles=True, max_plate_nesting=1
    )
    uniforms = uniforms_of(net, "average", 4)
    with sbn.force_draws({}, uniforms=uniforms):
        losses = elbo.particle_losses(net.model, net.guide, net.x, net.y)
    with sbn.force_draws({}, uniforms=uniforms):
        loss = elbo.differentiable_loss(net.model, net.guide, net.x, net.y)
    torch.testing.assert_close(losses.mean(), loss, rtol=1e-12, atol=1e-12)
    assert elbo.passes == 1


@pytest.mark.parametrize("options", [{}, {"num_particles": 4}, {"vectorize_particles": True}])
def test_losses_of_particles_need_particles_side_by_side(options):
    net = network()
    with pytest.raises(
        ValueError, match=r"particle_losses: .*num_particles=8, vectorize_particles"
    ):
        sbn.TraceEstimator_ELBO("psa", **options).particle_losses(net.model, net.guide, net.x)
