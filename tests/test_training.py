"""``sbn.fit``: the loop that one would write by hand, and the scores around it."""

import math
from contextlib import ExitStack
from functools import partial

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import SVI

import bayes_sbn as sbn
from bayes_sbn.training_validation import held_out_scores, traces, weight_divergence

WIDTHS = (6, 5, 3)


def network(num_data=50, seed=3):
    torch.manual_seed(seed)
    model = sbn.models.BinaryMLP(WIDTHS[0], [WIDTHS[1]], WIDTHS[2], num_data=num_data)
    return model, sbn.guides.AutoSignBernoulli(model)


def rows(count=50, seed=5):
    """Rows whose class can be learned."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, WIDTHS[0], generator=generator)
    return x, x[:, : WIDTHS[2]].argmax(1)


def numbers(model, guide):
    """Every parameter and buffer."""
    return {**model.state_dict(), **guide.state_dict()}


def assert_equal(found, wanted):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name


def order(seed=11):
    return torch.Generator().manual_seed(seed)


def fitted(num_data=50, **options):
    model, guide = network(num_data)
    options = {"epochs": 3, "batch_size": 20, "generator": order(), **options}
    fit = sbn.fit(model, guide, rows(), **options)
    return fit, numbers(model, guide)


def big_steps():
    return sbn.optim.MirrorDescent({"lr": 0.3, "real": ("Adam", {"lr": 0.1})})


def test_fit_is_the_loop_one_would_write():
    x, y = rows()
    model, guide = network()
    guide(x[:20], y[:20])  # fit looks at the model once
    optim = sbn.optim.MirrorDescent({"lr": 0.05, "real": ("Adam", {"lr": 0.01})})
    elbo = sbn.TraceEstimator_ELBO("psa", temperature="auto")
    svi = SVI(model, guide, optim, loss=elbo)
    generator, losses = order(), []
    for epoch in range(3):
        optim.scale_lr(0.5 * (1 + math.cos(math.pi * epoch / 3)))
        total = 0.0
        for some in torch.randperm(50, generator=generator).split(20):
            total += svi.step(x[some], y[some]) / 50 * len(some)
        losses.append(total / 50)
    fit, found = fitted()
    assert_equal(found, numbers(model, guide))
    assert [r.loss for r in fit.history] == losses
    assert [r.steps for r in fit.history] == [3, 6, 9]
    assert [r.rate for r in fit.history] == pytest.approx([1.0, 0.75, 0.25])
    assert fit.temperature == elbo.temperature < 1
    assert fit.stopped == "epochs"
    # and the comparison can fail
    _, other = fitted(generator=order(12))
    weights = "posterior.hidden.0.weight"
    assert not torch.equal(other[weights], found[weights])


def test_scores_of_held_out_rows_change_nothing():
    x, y = rows(30, seed=6)
    plain, found = fitted()
    scored, with_scores = fitted(validation=(100 * x, y))
    assert_equal(with_scores, found)
    assert [r.loss for r in scored.history] == [r.loss for r in plain.history]
    assert plain.history[0].validation_nll is None


def test_what_is_done_after_an_epoch_sees_its_parameters_and_changes_nothing(tmp_path):
    plain, wanted = fitted()
    seen = []
    model, guide = network()

    def look(record):
        seen.append((record, numbers(model, guide)["posterior.output.weight"].clone()))
        guide(*rows())
        model.input_range.fill_(100.0)
        assert not torch.is_grad_enabled()

    options = {"epochs": 3, "batch_size": 20, "checkpoint": tmp_path, "after_epoch": look}
    fit = sbn.fit(model, guide, rows(), generator=order(), **options)
    assert_equal(numbers(model, guide), wanted)
    assert [r.loss for r in fit.history] == [r.loss for r in plain.history]
    assert [record for record, _ in seen] == list(fit.history)
    assert torch.equal(seen[2][1], wanted["posterior.output.weight"])
    assert not torch.equal(seen[1][1], seen[2][1])
    # epochs that were there already are not gone through again
    model, guide = network()
    sbn.fit(model, guide, rows(), generator=order(), **options)
    assert len(seen) == 3


def test_an_error_after_an_epoch_leaves_the_parameters_of_that_epoch():
    _, wanted = fitted(schedule="constant", epochs=1)
    model, guide = network()

    def fails(record):
        guide(*rows())
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        sbn.fit(
            model,
            guide,
            rows(),
            batch_size=20,
            generator=order(),
            schedule="constant",
            after_epoch=fails,
        )
    assert_equal(numbers(model, guide), wanted)
    with pytest.raises(TypeError, match=r"fit\(after_epoch=.*received a int; it is a function"):
        fitted(after_epoch=3)


def test_learning_shows_in_the_scores():
    torch.manual_seed(0)
    x, y = rows(300)
    model = sbn.models.BinaryMLP(WIDTHS[0], [32], WIDTHS[2], num_data=300)
    guide = sbn.guides.AutoSignBernoulli(model)
    fit = sbn.fit(model, guide, (x, y), validation=rows(100, seed=8), epochs=15, batch_size=30)
    first, last = fit.history[0], fit.history[-1]
    assert last.validation_nll < 0.75 < 0.9 < first.validation_nll
    for record in fit.history:
        assert record.validation_nll < record.validation_draw_nll
        bound = -record.validation_draw_nll - record.kl_nats / 300
        assert record.validation_elbo == pytest.approx(bound)
        assert record.kl_bits == pytest.approx(record.kl_nats / math.log(2))
        num_weights = WIDTHS[0] * 32 + 32 * WIDTHS[2]
        assert record.kl_bits_per_weight == pytest.approx(record.kl_bits / num_weights)
    assert "validation NLL" in str(fit)
    assert fit.to_dict()["best_epoch"] == fit.best_epoch


def test_divergence_is_the_sum_over_weights():
    x, y = rows()
    model, guide = network()
    found = weight_divergence(model, guide, (x[:2], y[:2]))
    p = np.concatenate([v.numpy().ravel() for v in guide.weight_probabilities().values()])
    nats = np.sum(p * np.log(2 * p) + (1 - p) * np.log(2 * (1 - p)))
    assert found.nats == pytest.approx(nats)
    assert found.num_weights == len(p) == 45


def test_held_out_scores_average_probabilities_before_the_log():
    x, y = rows()
    model, guide = network()
    torch.manual_seed(1)
    found = held_out_scores(model, guide, [(x, y)], num_draws=3)
    # nothing was disturbed, so the same draws come again
    probs = []
    for _ in range(3):
        guide_sites = {
            name: site["value"]
            for name, site in traces(model, guide, (x, y))[1].nodes.items()
            if site["type"] == "sample"
        }
        logits = guide_sites["x1"] @ guide_sites["output.weight"].T * model.output.scale
        table = torch.softmax(logits + model.output.bias, -1).detach().numpy()
        probs.append(table[np.arange(50), y.numpy()])
    assert found.nll == pytest.approx(-np.log(np.mean(probs, 0)).mean())
    assert found.draw_nll == pytest.approx(-np.log(probs).mean())


def test_best_parameters_are_those_of_the_best_epoch():
    # large steps on few rows overfit, so that the best epoch is not the last
    x, y = rows(60, seed=6)
    options = {
        "schedule": "constant",
        "validation": (x[:, [1, 2, 0, 3, 4, 5]], y),
        "optim": big_steps(),
    }
    fit, found = fitted(epochs=12, keep="best", **options)
    assert fit.epoch == fit.best_epoch < 12
    nll = [r.validation_nll for r in fit.history]
    assert nll.index(min(nll)) + 1 == fit.best_epoch
    options["optim"] = big_steps()
    short, wanted = fitted(epochs=fit.epoch, **options)
    assert short.epoch == fit.epoch
    assert_equal(found, wanted)
    # patience counts the epochs since then, and leaves the best too
    options["optim"] = big_steps()
    early, found = fitted(epochs=12, patience=2, **options)
    assert early.stopped == "patience"
    assert len(early.history) == early.best_epoch + 2 < 12
    options["optim"] = big_steps()
    assert_equal(found, fitted(epochs=early.best_epoch, **options)[1])


def linear(x, y=None, *, size=None, in_plate=True):
    w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(3, 6)).to_event(2))
    if not in_plate:
        law = pyro.distributions.Categorical(logits=sbn.affine(x, w).tensor)
        return pyro.sample("y", law.to_event(1), obs=y)
    with pyro.plate("data", len(x) if size is None else size, subsample=x, dim=-1):
        return pyro.sample("y", sbn.AffineCategorical(sbn.affine(x, w)), obs=y)


def test_a_plate_as_long_as_a_batch_is_not_taken_for_that_of_the_rows():
    """20 copies of each row, in a plate outside that of the rows or inside: the same fit."""
    x, y = torch.randn(50, 6), torch.randint(3, (50,))

    def copies(x, y=None, *, are_outermost):
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(3, 6)).to_event(2))
        a = sbn.affine(x, w).tensor.expand(20, -1, -1)
        plates = [pyro.plate("copies", 20, dim=-2), pyro.plate("data", 50, subsample=x, dim=-1)]
        with ExitStack() as stack:
            for plate in plates if are_outermost else plates[::-1]:
                stack.enter_context(plate)
            given = None if y is None else y.expand(20, -1)
            return pyro.sample("y", pyro.distributions.Categorical(logits=a), obs=given)

    nlls = []
    for are_outermost in (True, False):
        torch.manual_seed(0)
        pyro.clear_param_store()
        model = partial(copies, are_outermost=are_outermost)
        guide = sbn.guides.AutoSignBernoulli(model, example=(x[:20], y[:20]))
        elbo = sbn.TraceEstimator_ELBO("st")
        options = {"elbo": elbo, "batch_size": 20, "epochs": 2, "progress": False}
        fit = sbn.fit(model, guide, (x, y), validation=(x[:40], y[:40]), **options)
        nlls.append([record.validation_nll for record in fit.history])
    assert nlls[0] == pytest.approx(nlls[1], rel=1e-9)


@pytest.mark.parametrize(
    ("size", "in_plate", "words"),
    [
        (70, True, r'plate "data".*stands for 70 rows, but the data have 50.*num_data=50'),
        (None, True, r'plate "data".*stands for 20 rows.*pyro.plate\("data", 50, subsample=x\)'),
        (None, False, r'"y" is in no plate, so a batch of 20 rows would count as all 50'),
    ],
)
def test_wrong_scaling_of_mini_batches_is_an_error(size, in_plate, words):
    def model(x, y=None):
        return linear(x, y, size=size, in_plate=in_plate)

    guide = sbn.guides.AutoSignBernoulli(model, example=(rows()[0][:2], rows()[1][:2]))
    with pytest.raises(ValueError, match=words):
        sbn.fit(model, guide, rows(), batch_size=20)


def test_a_model_as_a_function_is_fitted():
    def model(x, y=None):
        return linear(x, y, size=50)

    guide = sbn.guides.AutoSignBernoulli(model)  # its parameters are made by the first call
    fit = sbn.fit(model, guide, rows(), epochs=15, batch_size=25)
    assert fit.history[-1].loss < fit.history[0].loss
    assert guide.is_set_up
