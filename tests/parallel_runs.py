"""Computations that one process and two processes both make, and what each of them came to.

``python -m tests.parallel_runs RANK FOLDER`` is one of two processes, which make all runs one after
the other: what costs is to start them.  It leaves what its runs returned, or the message of the
error that they raised, by name in ``FOLDER/RANK.pt``.  In one file, though long: a started process
imports it and finds every run there by its name.
"""

import itertools
import os
import subprocess
import sys
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pyro
import pytest
import torch
from pyro import distributions as dist
from pyro.infer import SVI

import bayes_sbn as sbn
from bayes_sbn.kernels import uniforms as uniforms_of_kernels
from bayes_sbn.training_checkpoint import read_checkpoint
from bayes_sbn.training_folder import CHECKPOINT
from tests.test_training import network, numbers, order, rows

ROOT = Path(__file__).parents[1]
NUM_DATA = 37
SIZES = (11, 7, 1, 12, 3)
"""Of mini-batches: shares of two ranks are uneven, and one is empty."""


def two_processes(folder):
    """The results of all runs, of both ranks."""
    command = [sys.executable, "-m", "tests.parallel_runs"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [*command, str(rank), str(folder)],
            cwd=ROOT,
            env=env,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for worker in workers:
            _, said = worker.communicate(timeout=240)
            assert worker.returncode == 0, said
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


# ---- trajectories --------------------------------------------------------------------------------


def batch_of_step(k, x, y):
    size = SIZES[k % len(SIZES)]
    places = torch.arange(5 * k, 5 * k + size) % len(x)
    return x[places], y[places]


def data():
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(NUM_DATA, 6, generator=generator)
    return x, torch.randint(3, (NUM_DATA,), generator=generator)


def trajectory(model, guide, elbo, num_steps=20, optim=None):
    """Losses and parameters of some steps, and the loss once more without gradients."""
    optim = sbn.optim.MirrorDescent({"lr": 0.05, **(optim or {})})
    svi = SVI(model, guide, optim, loss=elbo)
    x, y = data()
    losses = [svi.step(*batch_of_step(k, x, y)) for k in range(num_steps)]
    losses.append(svi.evaluate_loss(x, y))
    return {"losses": torch.tensor(losses), **numbers(model, guide)}


def mlp_trajectory(estimator, num_steps=20, optim=None, **options):
    torch.manual_seed(1)
    model = sbn.models.BinaryMLP(6, [7, 5], 3, num_data=NUM_DATA)
    guide = sbn.guides.AutoSignBernoulli(model)
    elbo = sbn.DataParallel_ELBO(estimator, **{"temperature": "auto", **options})
    return trajectory(model, guide, elbo, num_steps, optim)


class Mixed(torch.nn.Module):
    """Two plates, a real latent variable outside of them, sites of two estimators."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(3))

    def forward(self, x, *, y):
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(5, 6)).to_event(2))
        v = pyro.sample("v", sbn.SignBernoulli(logits=torch.zeros(3, 5)).to_event(2))
        with pyro.plate("sides", 2, dim=-2), pyro.plate("data", NUM_DATA, subsample=x, dim=-1):
            law = sbn.NoisySign(sbn.affine(x, w, scale=0.5))
            h = pyro.sample("h", law, infer={"estimator": "disarm"})
            logits = sbn.affine(h, v).tensor * 0.3
            pyro.sample("y", dist.Categorical(logits=logits), obs=y)


def own_trajectory(estimator):
    torch.manual_seed(2)
    model = Mixed()
    guide = sbn.guides.AutoSignBernoulli(model)  # has no parameters before the first step
    optim = sbn.optim.MirrorDescent({"lr": 0.05})
    svi = SVI(model, guide, optim, loss=sbn.DataParallel_ELBO(estimator))
    x, y = data()
    losses = []
    for k in range(6):
        some, labels = batch_of_step(k, x, y)
        losses.append(svi.step(some, y=labels))
    return {"losses": torch.tensor(losses), **guide.state_dict()}


@contextmanager
def without_library():
    """Uniforms as they are drawn where nothing is compiled."""
    found = uniforms_of_kernels.installed_library
    uniforms_of_kernels.installed_library = lambda: None
    try:
        yield
    finally:
        uniforms_of_kernels.installed_library = found


def uncompiled_trajectory():
    with without_library():
        return {**mlp_trajectory("psa", 6), **own_trajectory("psa")}


TRAJECTORIES = {
    "psa": lambda: mlp_trajectory("psa"),
    "st": lambda: mlp_trajectory("st"),
    "without compiled kernels": uncompiled_trajectory,
    "a model of one's own": lambda: own_trajectory("psa"),
    "particles": lambda: mlp_trajectory("psa", 6, num_particles=2),
    "particles side by side": lambda: mlp_trajectory(
        "psa", 6, num_particles=2, vectorize_particles=True
    ),
    "several samples": lambda: mlp_trajectory("psa", 6, num_importance=3, num_particles=2),
    "scores": lambda: mlp_trajectory("score", 6),
    "leave one out": lambda: mlp_trajectory("loo", 6, num_particles=3, vectorize_particles=True),
    "the KL by the optimiser": lambda: mlp_trajectory(
        "psa", 6, optim={"kl": "prox"}, weight_kl=False
    ),
}


# ---- independent draws ---------------------------------------------------------------------------


def one_layer(x, y):
    w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(1, 3)).to_event(2))
    DRAWN.append(w.detach().clone())
    with pyro.plate("data", 5, subsample=x, dim=-1):
        pyro.sample("y", sbn.AffineBernoulli(sbn.affine(x, w)), obs=y)


DRAWN = []
"""The weights that this process drew."""


def one_layer_gradient(values, elbo, x, y):
    """The gradient in the leaf for given weights."""
    torch.manual_seed(6)
    guide = sbn.guides.AutoSignBernoulli(one_layer, example=(x, y))
    with sbn.force_draws({"w": values}):
        elbo.loss_and_grads(one_layer, guide, x, y)
    leaf = guide.leaf("w")
    return leaf.grad, guide.weight_probabilities()["w"]


def one_layer_data():
    generator = torch.Generator().manual_seed(8)
    x = torch.randn(5, 3, generator=generator)
    return x, (torch.rand(5, 1, generator=generator) < 0.5).to(x.dtype)


def states():
    return [torch.tensor([s]) for s in itertools.product((-1.0, 1.0), repeat=3)]


def probability(state, probs):
    return torch.where(state > 0, probs, 1 - probs).prod()


def forced_mean():
    """The mean of the gradient over the draws of both ranks, all 64 pairs of them."""
    elbo = sbn.DataParallel_ELBO("psa", independent_draws=True)
    mean = 0.0
    for pair in itertools.product(states(), repeat=2):
        own = pair[elbo.ranks.rank]
        gradient, probs = one_layer_gradient(own, elbo, *one_layer_data())
        mean = mean + gradient * probability(pair[0], probs) * probability(pair[1], probs)
    return {"mean": mean}


def own_draws():
    """The weights that this rank draws by itself in some steps."""
    x, y = one_layer_data()
    torch.manual_seed(6)
    guide = sbn.guides.AutoSignBernoulli(one_layer, example=(x, y))
    elbo = sbn.DataParallel_ELBO("psa", independent_draws=True)
    DRAWN.clear()
    for _ in range(200):
        elbo.loss(one_layer, guide, x, y)
    return {"drawn": torch.stack(DRAWN), "probs": guide.weight_probabilities()["w"]}


INDEPENDENT = {
    "trajectory": lambda: mlp_trajectory("psa", independent_draws=True),
    "forced mean": forced_mean,
    "draws": own_draws,
}


# ---- errors --------------------------------------------------------------------------------------


def own_rank():
    return torch.distributed.get_rank()


def step_of(model=None, *, seed=1, x=None, y=None, estimator="psa", before=lambda: None, **options):
    """One step of a model that may not be split over processes."""
    torch.manual_seed(seed)
    if model is None:
        model = sbn.models.BinaryMLP(6, [4], 3, num_data=NUM_DATA)
    all_x, all_y = data()
    x, y = all_x if x is None else x, all_y if y is None else y
    guide = sbn.guides.AutoSignBernoulli(model, example=(all_x, all_y))
    before()
    elbo = sbn.DataParallel_ELBO(estimator, **options)
    SVI(model, guide, sbn.optim.MirrorDescent({"lr": 0.05}), loss=elbo).step(x, y)


def normalised(kind):
    """A network whose hidden layer takes statistics from the rows of a batch."""
    return sbn.models.BinaryMLP(6, [4], 3, num_data=NUM_DATA, normalisation=kind)


def weights():
    return pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(3, 6)).to_event(2))


def plate_that_draws(x, y):
    w = weights()
    with pyro.plate("data", NUM_DATA, subsample_size=10, dim=-1) as places:
        pyro.sample("y", sbn.AffineCategorical(sbn.affine(x[places], w)), obs=y[places])


def plate_that_follows(x, y):
    w = weights()
    with pyro.plate("data", len(x), subsample=x, dim=-1):
        pyro.sample("y", sbn.AffineCategorical(sbn.affine(x, w)), obs=y)


def plate_of_all(x, y):
    w = weights()
    with pyro.plate("data", NUM_DATA, dim=-1):
        pyro.sample("y", sbn.AffineCategorical(sbn.affine(x, w)), obs=y)


def no_plate(x, y):
    w = weights()
    pyro.sample("y", dist.Categorical(logits=sbn.affine(x, w).tensor).to_event(1), obs=y)


class Counting(torch.nn.Module):
    """A buffer that depends on the rows, and is no maximum."""

    def __init__(self):
        super().__init__()
        self.register_buffer("sum", torch.zeros(()))

    def forward(self, x, y):
        self.sum = self.sum + x.sum()
        w = weights()
        with pyro.plate("data", NUM_DATA, subsample=x, dim=-1):
            pyro.sample("y", sbn.AffineCategorical(sbn.affine(x, w)), obs=y)


def noisy_rows(x, y):
    w = weights()
    with pyro.plate("data", NUM_DATA, subsample=x, dim=-1):
        shift = pyro.sample("shift", dist.Normal(torch.zeros(()), 1.0))
        logits = sbn.affine(x, w).tensor + shift.unsqueeze(-1)
        pyro.sample("y", dist.Categorical(logits=logits), obs=y)


def noisy_rows_step():
    def guide(x, y):
        weights()
        with pyro.plate("data", NUM_DATA, subsample=x, dim=-1):
            pyro.sample("shift", dist.Normal(torch.zeros(()), 1.0))

    torch.manual_seed(1)
    sbn.DataParallel_ELBO("psa").loss_and_grads(noisy_rows, guide, *data())


def broken_by_a_row(x, y):
    if len(x) == 19:
        raise KeyError("the last rows")
    w = weights()
    with pyro.plate("data", NUM_DATA, subsample=x, dim=-1):
        pyro.sample("y", sbn.AffineCategorical(sbn.affine(x, w)), obs=y)


def differentiable():
    torch.manual_seed(1)
    model, guide = network()
    sbn.DataParallel_ELBO("psa").differentiable_loss(model, guide, *rows())


def fit_of(**options):
    model, guide = network()
    elbo = sbn.DataParallel_ELBO("psa")
    sbn.fit(model, guide, rows(), elbo=elbo, epochs=2, generator=order(), **options)


ERRORS = {
    "seeds": lambda: step_of(seed=own_rank()),
    "generators": lambda: step_of(before=lambda: torch.rand(1 + own_rank())),
    "data": lambda: step_of(x=data()[0] + own_rank()),
    "sizes": lambda: step_of(x=data()[0][: 20 + own_rank()], y=data()[1][: 20 + own_rank()]),
    "options": lambda: step_of(temperature=0.5 + own_rank()),
    "plate that draws": lambda: step_of(plate_that_draws),
    "plate that follows": lambda: step_of(plate_that_follows),
    "plate of all": lambda: step_of(plate_of_all),
    "no plate": lambda: step_of(no_plate),
    "buffers": lambda: step_of(Counting()),
    "statistics": lambda: step_of(normalised("recalibrated")),
    "real latent": noisy_rows_step,
    "state": lambda: step_of(estimator=sbn.estimators.ScoreFunction(baseline="learned")),
    "broken on one": lambda: step_of(broken_by_a_row),
    "differentiable": differentiable,
    "other rows": lambda: step_of(x=data()[0][:9]),
    "fit": lambda: fit_of(batch_size=10 + own_rank()),
    "fit by one": lambda: fit_of(checkpoint=__file__),
}


# ---- sbn.fit -------------------------------------------------------------------------------------


class Failing(sbn.optim.MirrorDescent):
    """Fails after some steps."""

    steps_left = 10**9

    def __call__(self, *args, **kwargs):
        super().__call__(*args, **kwargs)
        self.steps_left -= 1
        if not self.steps_left:
            raise OSError("the machine went away")


def fitted(folder, steps=10**9):
    """A fit with everything that looks at gradients or scores; with a checkpoint."""
    torch.manual_seed(3)
    model = sbn.models.BinaryMLP(6, [5], 3, num_data=50)
    guide = sbn.guides.AutoSignBernoulli(model)
    optim = Failing({"lr": 0.05})
    optim.steps_left = steps
    result = sbn.fit(
        model,
        guide,
        rows(),
        validation=rows(30, seed=6),
        elbo=sbn.DataParallel_ELBO("psa", temperature="auto"),
        optim=optim,
        epochs=4,
        batch_size=7,
        clip_norm=0.5,
        keep="best",
        validation_draws=3,
        generator=order(),
        checkpoint=folder,
    )
    records = [
        {k: v for k, v in record.to_dict().items() if k != "seconds"} for record in result.history
    ]
    return {"history": records, "epoch": result.epoch, "numbers": numbers(model, guide)}


def broken_fit(folder):
    """A fit that ends in its third epoch; the epochs that its checkpoint has."""
    with pytest.raises(OSError, match="the machine went away"):
        fitted(folder, steps=20)
    return len(read_checkpoint(folder / CHECKPOINT)["kept"]["history"])


def fits(folder):
    """A fit, one that broke and goes on, and one that another process began."""
    return {
        "whole": fitted(folder / "whole"),
        "epochs of the broken one": broken_fit(folder / "broken"),
        "resumed": fitted(folder / "broken"),
        "begun by one": fitted(folder / "begun"),
    }


def results(folder):
    """What all runs came to, each by itself; the errors last."""
    found = {
        "trajectories": {name: run() for name, run in TRAJECTORIES.items()},
        "independent": {name: run() for name, run in INDEPENDENT.items()},
        "fits": fits(folder),
        "errors": {},
    }
    for name, run in ERRORS.items():
        try:
            found["errors"][name] = run()
        except Exception as error:
            found["errors"][name] = f"{type(error).__name__}: {error}"
    return found


def main(rank, folder):
    # Functions of this module have the group of all processes as a default argument: imported by
    # torch._dynamo after the group is made, it would keep the group, and its threads, for good.
    import torch.distributed.nn

    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=100),
    )
    torch.save(results(folder), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()
    # A thread that lives on may abort the process: it frees tensors while Python shuts down.
    threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").glob("*")]
    assert not [thread for thread in threads if "gloo" in thread], threads


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
