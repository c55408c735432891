"""A step gives its memory back at once: no reference cycle keeps tensors until a collector runs."""

import gc

import pytest
import torch
from pyro.infer import SVI

import bayes_sbn as sbn


def left_in_cycles(call):
    """The tensors that only a collector would free after a call."""
    gc.collect()
    gc.disable()
    try:
        call()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found = [thing for thing in gc.garbage if isinstance(thing, torch.Tensor)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    return found


@pytest.mark.parametrize("estimator", ["psa", "st", "score", "local", "disarm", "exact"])
def test_a_step_leaves_no_tensors_in_cycles(estimator):
    x, y = torch.randn(6, 3), torch.randint(2, (6,))
    widths = [2] if estimator == "exact" else [5, 4]
    model = sbn.models.BinaryMLP(3, widths, 2, num_data=6)
    guide = sbn.guides.AutoSignBernoulli(model)
    number = sbn.estimators.get_estimator(estimator).particles
    elbo = sbn.TraceEstimator_ELBO(
        estimator, num_particles=number, vectorize_particles=number > 1, max_plate_nesting=1
    )
    svi = SVI(model, guide, sbn.optim.MirrorDescent({"lr": 0.05}), loss=elbo)
    svi.step(x, y)
    assert not left_in_cycles(lambda: svi.step(x, y))


GUIDES = {
    "delta": (sbn.guides.AutoSignDelta, {}),
    "hybrid": (sbn.guides.AutoHybrid, {"real": ("last",)}),
    "mixture": (sbn.guides.AutoSignMixture, {}),
    "low rank": (sbn.guides.AutoSignLowRank, {}),
    "analytic": (sbn.guides.AutoSignBernoulli, {"normalisation": "analytic"}),
    "recalibrated": (sbn.guides.AutoSignBernoulli, {"normalisation": "recalibrated"}),
}


@pytest.mark.parametrize("name", GUIDES)
def test_a_step_of_other_guides_and_networks_leaves_none_either(name):
    make, options = GUIDES[name]
    x, y = torch.randn(6, 3), torch.randint(2, (6,))
    model = sbn.models.BinaryMLP(3, [5, 4], 2, num_data=6, **options)
    elbo = sbn.TraceEstimator_ELBO("psa")
    svi = SVI(model, make(model), sbn.optim.MirrorDescent({"lr": 0.05}), loss=elbo)
    svi.step(x, y)
    assert not left_in_cycles(lambda: svi.step(x, y))


def test_a_cycle_is_noticed():
    def make():
        cycle = [torch.zeros(3)]
        cycle.append(cycle)

    assert len(left_in_cycles(make)) == 1
