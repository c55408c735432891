"""What the rival rules share: states by module path, fits that go on, misfits, learning."""

import contextlib
import copy

import pyro
import pytest
import torch
from sklearn.datasets import load_digits

import bayes_sbn as sbn
from bayes_sbn.dual import LeftKL, leaf_of, leave_kl, register_leaf
from bayes_sbn.training_checkpoint import read_checkpoint, write_checkpoint
from tests.chance import torch_generator

DELTA, BERNOULLI = sbn.guides.AutoSignDelta, sbn.guides.AutoSignBernoulli


def uniform_leaves(model):
    return BERNOULLI(model, noise="uniform")


RULES = {
    # the optimiser with options under which it learns, its guide, its loss, and what it reaches
    "bop": (sbn.optim.Bop, {"lr": 0.01, "threshold": 0.3}, DELTA, ("psa", 0.0), 0.86),
    "latent signs": (
        sbn.optim.LatentWeights,
        {"rule": ("Adam", {"lr": 0.05}), "clip": None},
        DELTA,
        ("psa", 0.0),
        0.88,
    ),
    "latent means": (
        sbn.optim.LatentWeights,
        {"rule": ("Adam", {"lr": 0.02})},
        uniform_leaves,
        ("psa", 0.0),
        0.80,
    ),
    "bayes_binn": (
        sbn.optim.BayesBiNN,
        {"lr": 0.02},
        BERNOULLI,
        ("bayes_binn", "auto"),
        0.78,
    ),
    "md_tanh": (
        sbn.optim.MDTanh,
        {"lr": 0.05, "factor": 1.2, "every": 10},
        BERNOULLI,
        ("mean", 0.0),
        0.86,
    ),
    "pmf": (
        sbn.optim.MDTanh,
        {"lr": 0.05, "factor": 1.2, "every": 10, "through_tanh": True},
        BERNOULLI,
        ("mean", 0.0),
        0.86,
    ),
}


def digits():
    x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
    order = torch.randperm(len(x), generator=torch_generator("digits"))
    return x[order].to(torch.get_default_dtype()) / 8 - 1, y[order]


@pytest.mark.parametrize("name", RULES)
def test_fit_learns_digits(name):
    optim, options, guide_of, (estimator, temperature), accuracy = RULES[name]
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    pyro.set_rng_seed(0)
    x, y = digits()
    model = sbn.models.BinaryMLP(64, [64], 10, num_data=1437)
    guide = guide_of(model)
    sbn.fit(
        model,
        guide,
        (x[:1437], y[:1437]),
        optim=optim({**options, "real": ("Adam", {"lr": 0.02})}),
        estimator=estimator,
        temperature=temperature,
        epochs=8,
        batch_size=96,
        schedule="constant",
        progress=False,
    )
    predicted = sbn.Posterior.from_guide(model, guide).draw(30).predict(x[1437:])
    reached = float((predicted.mean.argmax(-1) == y[1437:].numpy()).mean())
    assert reached > accuracy


MOVES = {"bop": {"lr": 0.05, "threshold": 0.0}}
"""Options under which few data move every rule, where they are not those of digits."""


def small(name, start=0):
    torch.manual_seed(start)
    model = sbn.models.BinaryMLP(4, [6], 3, num_data=20)
    optim, options, guide_of, (estimator, temperature), _ = RULES[name]
    options = MOVES.get(name, options)
    loss = sbn.TraceEstimator_ELBO(estimator, temperature=temperature)
    guide = guide_of(model)
    return model, guide, pyro.infer.SVI(model, guide, optim(options), loss=loss)


def stepped(svi, steps):
    torch.manual_seed(5)
    pyro.set_rng_seed(5)
    x, y = torch.randn(20, 4), torch.arange(20) % 3
    return [svi.step(x, y) for _ in range(steps)]


@pytest.mark.parametrize("name", RULES)
def test_states_go_through_a_file_by_module_path(name, tmp_path):
    model, guide, svi = small(name)
    stepped(svi, 17)
    write_checkpoint(tmp_path / "state", {"optim": svi.optim.get_state()})
    parameters = copy.deepcopy((model.state_dict(), guide.state_dict()))
    wanted = stepped(svi, 15)
    other_model, other_guide, other = small(name, start=9)
    other_model.load_state_dict(parameters[0])
    other_guide.load_state_dict(parameters[1])
    other.optim.set_state(read_checkpoint(tmp_path / "state")["optim"])
    assert stepped(other, 15) == wanted
    for before, after in zip(guide.parameters(), other_guide.parameters(), strict=True):
        assert torch.equal(before, after)


@pytest.mark.parametrize("name", ["bop", "latent means", "md_tanh"])
def test_a_fit_goes_on_from_its_checkpoint(name, tmp_path):
    optim, options, guide_of, (estimator, temperature), _ = RULES[name]

    def fitted(epochs, folder):
        torch.manual_seed(0)
        pyro.set_rng_seed(0)
        x, y = torch.randn(20, 4), torch.arange(20) % 3
        model = sbn.models.BinaryMLP(4, [6], 3, num_data=20)
        guide = guide_of(model)

        def stop(record):
            if record.epoch == epochs:
                raise KeyboardInterrupt

        with contextlib.suppress(KeyboardInterrupt):
            sbn.fit(
                model,
                guide,
                (x, y),
                optim=optim(MOVES.get(name, options)),
                estimator=estimator,
                temperature=temperature,
                epochs=6,
                batch_size=5,
                checkpoint=folder,
                after_epoch=stop,
                progress=False,
            )
        return [p.detach().clone() for p in guide.parameters()]

    whole = fitted(None, tmp_path / "whole")
    assert not all(map(torch.equal, whole, fitted(1, tmp_path / "halves")))
    assert all(map(torch.equal, whole, fitted(None, tmp_path / "halves")))


@pytest.mark.parametrize(
    ("rule", "guide_of", "words"),
    [
        ("Bop", BERNOULLI, r"Bop: the leaves .* stand for probabilities.*AutoSignDelta"),
        ("BayesBiNN", DELTA, r"BayesBiNN: the weights .* signs of their leaves.*AutoSignBernoulli"),
        ("MDTanh", DELTA, r"MDTanh: the weights .* are the signs of their leaves"),
        ("BayesBiNN", uniform_leaves, r"BayesBiNN: .* quantiles of Uniform"),
        ("LatentWeights", BERNOULLI, r"LatentWeights: .* quantiles of Logistic"),
    ],
)
def test_a_rule_refuses_the_leaves_of_another_guide(rule, guide_of, words):
    torch.manual_seed(0)
    model = sbn.models.BinaryMLP(4, [6], 3, num_data=20)
    guide = guide_of(model)
    before = [p.detach().clone() for p in guide.parameters()]
    optim = getattr(sbn.optim, rule)({"lr": 0.1})
    svi = pyro.infer.SVI(model, guide, optim, loss=sbn.TraceEstimator_ELBO("psa", temperature=0.0))
    with pytest.raises(RuntimeError, match=words):
        stepped(svi, 1)
    assert all(map(torch.equal, before, guide.parameters()))


@pytest.mark.parametrize("name", RULES)
def test_a_kl_that_was_left_to_the_optimiser_is_refused(name):
    optim, options, *_ = RULES[name]
    leaf = torch.nn.Parameter(torch.ones(2))
    law = sbn.noise.Uniform() if name == "latent means" else sbn.noise.Logistic(0.5)
    is_point = RULES[name][2] is DELTA
    register_leaf(leaf, "posterior.w", is_dual=True, noise=law, is_point=is_point)
    leave_kl(leaf, LeftKL(torch.ones(2), torch.zeros(2)))
    assert leaf_of(leaf).left_kl is not None
    leaf.grad = torch.ones(2)
    with pytest.raises(RuntimeError, match="the loss left the KL of the weights"):
        optim(options)([leaf])
    assert leaf.tolist() == [1.0, 1.0]
