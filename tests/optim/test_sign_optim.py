"""The base of Pyro optimisers of ±1 weights: a subclass states a rule and has all else."""

import copy
import json

import pyro
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.dual import register_leaf
from bayes_sbn.training_checkpoint import read_checkpoint, write_checkpoint
from bayes_sbn.training_folder import described


class Descent(sbn.optim.SignOptim):
    """Plain steps, by torch's own rule; real parameters may have the same."""

    rule = torch.optim.SGD


def leaves():
    made = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    register_leaf(made[0], "posterior.w", is_dual=True)
    register_leaf(made[1], "scale", is_dual=False)
    return made


def run(optim, parameters, gradients):
    for gradient in gradients:
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, gradient)
        optim(parameters)


OPTIONS = {"lr": 0.5, "momentum": 0.5, "real": ("SGD", {"lr": 0.1})}


def test_a_rule_is_all_that_a_subclass_states():
    optim, parameters = Descent(OPTIONS), leaves()
    run(optim, parameters, [1.0, 1.0])
    assert torch.allclose(parameters[0].detach(), torch.full((2,), -0.5 - 0.75))
    assert torch.allclose(parameters[1].detach(), torch.full((2,), -0.2))
    optim.scale_lr(0.5)
    run(optim, parameters, [0.0])
    assert torch.allclose(parameters[0].detach(), torch.full((2,), -1.25 - 0.25 * 0.75))


def test_states_of_a_rule_that_real_parameters_have_too_are_told_apart():
    whole, parameters = Descent(OPTIONS), leaves()
    run(whole, parameters, [1.0, -0.3])
    state = copy.deepcopy(whole.get_state())
    values = [p.detach().clone() for p in parameters]
    run(whole, parameters, [0.4, 0.1])
    other, fresh = Descent(OPTIONS), leaves()
    run(other, fresh, [2.0])
    other.set_state(state)
    for parameter, value in zip(fresh, values, strict=True):
        parameter.data.copy_(value)
    run(other, fresh, [0.4, 0.1])
    assert all(torch.equal(a, b) for a, b in zip(parameters, fresh, strict=True))
    assert state["posterior.w"]["param_groups"][0]["lr"] == 0.5
    assert state["scale"]["param_groups"][0]["lr"] == 0.1


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Descent({"lr": 0.1, "speed": 1}), TypeError, r"Descent\(.*options are lr, mom"),
        (lambda: Descent(0.1), TypeError, r'Descent\(0.1\): .* as in Descent\({"lr"'),
        (lambda: Descent({"lr": 0.1, "real": 3}), TypeError, r'Descent\({"real": 3}\)'),
        (lambda: Descent({"lr": 0.1}).scale_lr(-1.0), ValueError, r"Descent.scale_lr\(-1.0\)"),
        (lambda: sbn.optim.SignOptim({"lr": 0.1}), TypeError, "it has no rule for ±1 weights"),
    ],
)
def test_errors_name_the_class_that_was_written(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_a_fit_is_described_by_the_options_of_the_class_that_was_written():
    name, options = described(Descent(OPTIONS))
    assert name == "Descent"
    assert "'momentum': 0.5" in options
    # an option that was not given is not written, so that older checkpoints still match
    assert "clamp" not in described(sbn.optim.MirrorDescent({"lr": 0.1}))[1]


@pytest.mark.parametrize("noise", ["uniform", sbn.noise.Gaussian(2.0)])
def test_states_of_laws_are_plain_values_that_a_checkpoint_holds(noise, tmp_path):
    leaf = torch.nn.Parameter(torch.zeros(2))
    optim = sbn.optim.MirrorDescent({"lr": 0.1, "noise": noise, "clipping": "lazy"})
    register_leaf(leaf, "posterior.w", is_dual=True, noise=sbn.noise.get_noise(noise))
    run(optim, [leaf], [1.0])
    state = optim.get_state()
    write_checkpoint(tmp_path / "state", {"optim": state})
    read = read_checkpoint(tmp_path / "state")["optim"]
    groups = [each["posterior.w"]["param_groups"][0] for each in (read, state)]
    assert groups[0] == groups[1]
    assert json.dumps(groups[0]["noise"])
    other = sbn.optim.MirrorDescent({"lr": 0.1})
    other.set_state(read)
    run(other, [leaf], [1.0])
    assert other.get_state()["posterior.w"]["param_groups"][0]["clipping"] == "lazy"


def test_a_rule_of_ones_own_trains_a_network():
    torch.manual_seed(0)
    pyro.set_rng_seed(0)
    x, y = torch.randn(30, 4), torch.arange(30) % 3
    model = sbn.models.BinaryMLP(4, [8], 3, num_data=30)
    guide = sbn.guides.AutoSignBernoulli(model)
    loss = sbn.TraceEstimator_ELBO("psa", temperature="auto")
    svi = pyro.infer.SVI(model, guide, Descent({"lr": 0.01}), loss=loss)
    losses = [svi.step(x, y) for _ in range(150)]
    assert sum(losses[-30:]) < 0.9 * sum(losses[:30])
