"""Gradients and epochs that go wrong, clipping, schedules, and the forms that data may have."""

import io
import itertools
import math

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import bayes_sbn as sbn
from bayes_sbn.dual import leaf_of
from bayes_sbn.training_schedule import SCHEDULES
from tests.test_training import assert_equal, big_steps, fitted, network, numbers, order, rows


def broken_at(at, name="output.bias", value=float("nan")):
    """The default optimiser, after whose given step a parameter has a value of no use."""

    class Broken(sbn.optim.MirrorDescent):
        steps = 0

        def __call__(self, params, *args, **kwargs):
            params = list(params)
            super().__call__(params, *args, **kwargs)
            self.steps += 1
            if self.steps == at:
                for parameter in params:
                    if leaf_of(parameter).path == name:
                        parameter.data.view(-1)[0] = value

    return Broken({"lr": 0.05})


@pytest.mark.filterwarnings("ignore:Encountered NaN")
@pytest.mark.filterwarnings("ignore:Encountered inf")
@pytest.mark.parametrize("name", ["output.bias", "posterior.hidden.0.weight"])
def test_nan_stops_with_step_parameter_and_remedy(name):
    model, guide = network()
    with pytest.raises(RuntimeError) as raised:
        sbn.fit(
            model,
            guide,
            rows(),
            epochs=9,
            batch_size=20,
            generator=order(),
            schedule="constant",
            optim=broken_at(7, name),
        )
    message = str(raised.value)
    assert "step 8 (epoch 3)" in message
    assert f'"{name}" is not finite' in message
    assert "clip_norm=1.0" in message
    # what is left is the end of the second epoch
    assert_equal(numbers(model, guide), fitted(epochs=2, schedule="constant")[1])
    assert all(p.grad is None for p in (*model.parameters(), *guide.parameters()))


def test_divergence_stops():
    model, guide = network()
    with pytest.raises(RuntimeError, match=r"step 5 \(epoch 2\): the fit diverges.*Try smaller"):
        sbn.fit(
            model,
            guide,
            rows(),
            batch_size=20,
            optim=broken_at(4, "output.bias", 1e6),
        )


def test_clipping_bounds_the_step():
    def moved(clip_norm):
        torch.manual_seed(3)
        model, guide = network()
        before = {name: value.clone() for name, value in numbers(model, guide).items()}
        fit = sbn.fit(
            model,
            guide,
            rows(),
            epochs=1,
            batch_size=50,
            generator=order(),
            clip_norm=clip_norm,
            # plain gradient steps on all parameters; in the loss a row
            optim=sbn.optim.MirrorDescent(
                {"lr": 1 / 50, "adaptive": False, "real": ("SGD", {"lr": 1 / 50})}
            ),
        )
        after = dict([*model.named_parameters(), *guide.named_parameters()])
        start = {name: value for name, value in before.items() if name in after}
        steps = torch.cat([(after[n].detach() - start[n]).ravel() for n in sorted(start)])
        return steps, fit.history[0].gradient_norm

    free, norm = moved(None)
    assert float(free.norm()) == pytest.approx(norm)
    clipped, norm_before = moved(norm / 3)
    assert norm_before == norm
    assert torch.allclose(clipped, free / 3)
    same, _ = moved(2 * norm)
    assert torch.equal(same, free)


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25]),
        ("cosine", [(1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)]),
        (lambda fraction: 0.1**fraction, [0.1 ** (k / 4) for k in range(4)]),
    ],
)
def test_schedule_scales_every_step_size_of_an_epoch(schedule, factors):
    optim = sbn.optim.MirrorDescent({"lr": 0.05, "real": ("Adam", {"lr": 0.01})})
    seen = []

    class Seeing(type(optim)):
        def __call__(self, params, *args, **kwargs):
            super().__call__(params, *args, **kwargs)
            seen.append(sorted({r.param_groups[0]["lr"] for r in self.optim_objs.values()}))

    optim.__class__ = Seeing
    fit, _ = fitted(epochs=4, schedule=schedule, optim=optim)
    assert [r.rate for r in fit.history] == pytest.approx(factors)
    assert seen == [pytest.approx([0.01 * f, 0.05 * f]) for f in factors for _ in range(3)]


def test_step_sizes_are_put_back():
    optim = sbn.optim.MirrorDescent({"lr": 0.05, "real": ("Adam", {"lr": 0.01})})
    fitted(optim=optim)
    assert {r.param_groups[0]["lr"] for r in optim.optim_objs.values()} == {0.05, 0.01}


def test_first_epoch_of_a_schedule_is_scaled_too():
    def one_epoch(factor):
        start = numbers(*network())["posterior.output.weight"].clone()
        _, found = fitted(epochs=1, batch_size=50, schedule=lambda _: factor)
        return (found["posterior.output.weight"] - start).abs().max()

    assert float(one_epoch(0.1)) == pytest.approx(0.1 * float(one_epoch(1.0)))


def test_ctrl_c_keeps_the_last_epoch():
    class Interrupted(sbn.optim.MirrorDescent):
        steps = 0

        def __call__(self, params, *args, **kwargs):
            super().__call__(params, *args, **kwargs)
            self.steps += 1
            if self.steps == self.at:
                raise KeyboardInterrupt

    optim = Interrupted({"lr": 0.05})
    optim.at = 8
    fit, found = fitted(epochs=9, schedule="constant", optim=optim)
    assert fit.stopped == "interrupted"
    assert fit.epoch == len(fit.history) == 2
    assert_equal(found, fitted(epochs=2, schedule="constant")[1])
    assert "interrupted" in str(fit)
    # there is no last epoch in the first, so that one ends as any interrupted call
    optim = Interrupted({"lr": 0.05})
    optim.at = 2
    model, guide = network()
    before = {name: value.clone() for name, value in numbers(model, guide).items()}
    with pytest.raises(KeyboardInterrupt):
        sbn.fit(model, guide, rows(), batch_size=20, optim=optim)
    changed = {n for n, v in numbers(model, guide).items() if not torch.equal(v, before[n])}
    assert changed <= {"input_range"}  # which a look at the model's first batch sets


class Shuffled:
    """Yields the batches that ``fit`` makes of tensors, and knows nothing of their number."""

    def __init__(self):
        self.order = order()

    def __iter__(self):
        x, y = rows()
        for some in torch.randperm(50, generator=self.order).split(20):
            yield [x[some], y[some]]


def test_any_loader_is_fitted_as_tensors_are():
    model, guide = network()
    fit = sbn.fit(model, guide, Unshuffled(Shuffled()), epochs=3, generator=order())
    other, wanted = fitted(epochs=3)
    assert_equal(numbers(model, guide), wanted)
    assert [r.loss for r in fit.history] == [r.loss for r in other.history]


class Unshuffled:
    """Gives the first look, which is not an epoch, the rows in their order, as tensors do."""

    def __init__(self, loader):
        self.loader = loader
        self.looks = 0

    def __iter__(self):
        self.looks += 1
        if self.looks == 1:
            x, y = rows()
            return iter([(x[:20], y[:20])])
        return iter(self.loader)


def test_data_loader_and_validation_loader():
    data = TensorDataset(*rows())
    model, guide = network()
    fit = sbn.fit(
        model,
        guide,
        DataLoader(data, batch_size=16, shuffle=True, generator=order()),
        validation=DataLoader(TensorDataset(*rows(30, seed=6)), batch_size=7),
        epochs=3,
    )
    assert [r.steps for r in fit.history] == [4, 8, 12]
    assert fit.history[-1].validation_nll > 0


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        ((torch.zeros(3, 6), torch.zeros(4)), ValueError, r"\[3, 4\] rows"),
        ((torch.zeros(0, 6), torch.zeros(0)), ValueError, "have no rows"),
        ((torch.zeros(3, 6), [1, 2, 3]), TypeError, "a Tensor, a list; give tensors"),
        ((), TypeError, "holds nothing"),
        (iter([(torch.zeros(3, 6),)]), TypeError, "gone through only once"),
        (TensorDataset(*rows()), TypeError, "a TensorDataset. Wrap it"),
        (7, TypeError, "data is a int; give"),
        (itertools.repeat, TypeError, "give"),
        (DataLoader([{"x": 1.0}]), TypeError, "a batch is a dict"),
    ],
)
def test_data_of_another_form_are_an_error(data, error, words):
    with pytest.raises(error, match=words):
        sbn.fit(*network(), data)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"epochs": 0}, ValueError, r"fit\(epochs=0\): it is an integer of at least 1"),
        ({"batch_size": 2.0}, ValueError, r"fit\(batch_size=2.0\)"),
        ({"patience": 0}, ValueError, r"fit\(patience=0\)"),
        ({"patience": 2}, ValueError, r"no held-out rows. Give validation="),
        ({"keep": "best"}, ValueError, r"no held-out rows. Give validation="),
        ({"keep": "first"}, ValueError, "'last' or 'best'"),
        ({"clip_norm": 0.0}, ValueError, r"fit\(clip_norm=0.0\)"),
        ({"schedule": "step"}, ValueError, ", ".join(sorted(SCHEDULES))),
        ({"schedule": lambda _: -1.0}, ValueError, r"it gave -1.0 at the fraction 0.000"),
        ({"estimator": "pas"}, ValueError, "not registered"),
        ({"elbo": "psa"}, TypeError, r"fit\(elbo=...\): received a str"),
        (
            {"elbo": sbn.TraceEstimator_ELBO(), "estimator": "st"},
            ValueError,
            "has its own estimator and temperature",
        ),
        ({"optim": torch.optim.Adam}, TypeError, "it is a PyroOptim"),
    ],
)
def test_wrong_argument_is_an_error(options, error, words):
    with pytest.raises(error, match=words):
        sbn.fit(*network(), rows(), **options)


def test_elbo_of_ones_own_is_used():
    elbo = sbn.TraceEstimator_ELBO("st", temperature=0.25, num_particles=2)
    fit, _ = fitted(elbo=elbo)
    assert fit.elbo is elbo
    assert fit.temperature == 0.25


def test_progress_is_shown_where_asked_for(capsys, monkeypatch):
    fitted(epochs=2)
    assert capsys.readouterr().err == ""  # not a terminal
    fitted(epochs=2, progress=True, validation=rows(30, seed=6))
    shown = capsys.readouterr().err
    for word in ("fit", "6/6", "loss=", "KL=", "bits", "a weight=", "validation NLL="):
        assert word in shown
    monkeypatch.setattr("sys.stderr", io.StringIO())
    fitted(epochs=1, progress=False)


def test_saturated_weights_make_large_steps_harmless():
    fit, found = fitted(epochs=5, optim=big_steps())
    assert all(bool(torch.isfinite(value).all()) for value in found.values())
    assert math.isfinite(fit.history[-1].loss)
