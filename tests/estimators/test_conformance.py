"""What every registered estimator must do, whatever it estimates.

All run a 3-4-3 network of ±1 weights with given uniforms, in two vectorised particles, which every
estimator can do.
"""

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.estimators.estimator import REGISTRY

NAMES = sorted(n for n, cls in REGISTRY.items() if cls.__module__.startswith("bayes_sbn."))
ROWS, PARTICLES = 5, 2


class Task:
    """A network with fixed parameters, data and uniforms, in the default dtype."""

    def __init__(self, seed: int = 0) -> None:
        numbers = np.random.default_rng(seed)
        dtype = torch.get_default_dtype()

        def tensor(array: np.ndarray) -> torch.Tensor:
            return torch.tensor(array, dtype=dtype)

        self.model = sbn.models.BinaryMLP(3, [4, 3], 3, num_data=20)
        self.guide = sbn.guides.AutoSignBernoulli(self.model)
        self.sites = ("hidden.0.weight", "hidden.1.weight", "output.weight")
        self.uniforms = {}
        for site in self.sites:
            leaf = self.guide.leaf(site)
            leaf.data.copy_(tensor(numbers.normal(0, 0.7, leaf.shape)))
            self.uniforms[site] = tensor(numbers.uniform(size=(PARTICLES, *leaf.shape)))
        self.x = tensor(numbers.normal(size=(ROWS, 3)))
        self.y = torch.tensor(numbers.integers(3, size=ROWS))
        for site, units in (("x1", 4), ("x2", 3)):
            self.uniforms[site] = tensor(numbers.uniform(size=(PARTICLES, ROWS, units)))

    def elbo(self, name: str, **options) -> sbn.TraceEstimator_ELBO:
        options = {"num_particles": PARTICLES, "vectorize_particles": True, **options}
        return sbn.TraceEstimator_ELBO(name, max_plate_nesting=1, **options)

    def step(self, name: str, rows=slice(None), force: bool = True, **options):
        """The loss, the gradients of everything, and the passes of one step."""
        elbo = self.elbo(name, **options)
        uniforms = {k: u if k in self.sites else u[:, rows] for k, u in self.uniforms.items()}
        for leaf in self.parameters().values():
            leaf.grad = None
        with sbn.force_draws({}, uniforms if force else {}):
            loss = elbo.loss_and_grads(self.model, self.guide, self.x[rows], self.y[rows])
        gradients = {
            k: None if leaf.grad is None else leaf.grad.clone()
            for k, leaf in self.parameters().items()
        }
        return loss, gradients, elbo.passes

    def parameters(self) -> dict[str, torch.Tensor]:
        return {**dict(self.model.named_parameters()), **dict(self.guide.named_parameters())}


def same(found, wanted, tolerance=1e-10) -> bool:
    return all(
        (g is None and wanted[k] is None)
        or float((g - wanted[k]).abs().max()) <= tolerance * max(1, float(wanted[k].abs().max()))
        for k, g in found.items()
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_draws_are_exactly_the_signs_of_their_uniforms(name):
    task = Task()
    with sbn.force_draws({}, task.uniforms):
        (run,) = task.elbo(name)._get_traces(task.model, task.guide, (task.x, task.y), {})
    for site, uniform in task.uniforms.items():
        node = run.guide_trace.nodes[site]
        value = node["value"].detach()
        assert ((value == 1) | (value == -1)).all()
        probability = node["fn"].probs.detach()
        assert torch.equal(
            value, torch.where(uniform.reshape(value.shape) < probability, 1.0, -1.0)
        )


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_does_not_depend_on_the_estimator(name):
    task = Task()
    loss, gradients, _ = task.step(name)
    assert loss == pytest.approx(task.step("score")[0], abs=1e-12)
    weights = [g for k, g in gradients.items() if k.endswith("weight")]
    assert len(weights) >= 3
    assert all(float(g.abs().max()) > 1e-6 for g in weights)


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_gradient_and_another_seed_another(name):
    task = Task()
    steps = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        steps.append(task.step(name, force=False))
    assert steps[0][0] == steps[1][0] != steps[2][0]
    assert same(steps[0][1], steps[1][1], 0.0)
    assert not same(steps[0][1], steps[2][1], 1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_rows_does_not_matter(name):
    task = Task()
    loss, gradients, _ = task.step(name)
    order = torch.tensor([3, 0, 4, 2, 1])
    again, permuted, _ = task.step(name, rows=order)
    assert again == pytest.approx(loss, abs=1e-10)
    assert same(permuted, gradients)


@pytest.mark.parametrize("name", NAMES)
def test_float32_follows_float64(name):
    gradients = []
    for dtype in (torch.float64, torch.float32):
        torch.set_default_dtype(dtype)
        task = Task()
        gradients.append(task.step(name)[1])
    assert all(g is None or g.dtype == torch.float32 for g in gradients[1].values())
    single = {k: None if g is None else g.double() for k, g in gradients[1].items()}
    assert same(single, gradients[0], 1e-4)
    assert not same(single, gradients[0], 0.0)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "loo"])
def test_vectorised_particles_average_single_ones(name):
    task = Task()
    loss, gradients, _ = task.step(name)
    whole, total, losses = dict(task.uniforms), {}, []
    for k in range(PARTICLES):
        task.uniforms = {site: u[k : k + 1] for site, u in whole.items()}
        uniforms = {site: u[0] for site, u in task.uniforms.items()}
        for leaf in task.parameters().values():
            leaf.grad = None
        elbo = sbn.TraceEstimator_ELBO(name)
        with sbn.force_draws({}, uniforms):
            losses.append(elbo.loss_and_grads(task.model, task.guide, task.x, task.y))
        for key, leaf in task.parameters().items():
            if leaf.grad is not None:
                total[key] = total.get(key, 0) + leaf.grad / PARTICLES
    assert sum(losses) / PARTICLES == pytest.approx(loss, abs=1e-10)
    assert same({k: total.get(k) for k in gradients}, gradients)


PASSES = {"local": 1 + 3 * 4 + 4 * 3 + 3 * 3 + 4 + 3, "disarm": 1 + 5}
"""Of one step: a run, and the reruns of five sites; 1 for all others."""


@pytest.mark.parametrize("name", NAMES)
def test_the_passes_are_those_that_are_stated(name):
    passes = Task().step(name)[2]
    assert passes == PASSES.get(name, 1)
    stated = REGISTRY[name].passes
    if isinstance(stated, int):
        assert passes == 1 + 5 * (stated - 1)


@pytest.mark.parametrize("name", NAMES)
def test_the_table_has_a_row_with_a_reference(name):
    row = next(r for r in sbn.estimators.table().splitlines() if r.startswith(f"{name} "))
    estimator = REGISTRY[name]
    assert estimator.reference
    assert estimator.reference in row
    assert (estimator.__doc__ or "").count("nbiased")


def test_conformance_covers_the_rivals():
    assert {"disarm", "local", "loo", "psa", "score", "st", "zgr"} <= set(NAMES)
