"""The trace of a fit has its records, the epoch that was kept, and how it ended."""

import dataclasses
import math

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn import plots


@pytest.fixture(scope="module")
def fit():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    y = (x[:, 0] > 0).long()
    with torch.random.fork_rng(devices=[]):
        model = sbn.models.BinaryMLP(3, [4], 2, num_data=30).double()
        guide = sbn.guides.AutoSignBernoulli(model)
        return sbn.fit(
            model, guide, (x[:30], y[:30]), validation=(x[30:], y[30:]), epochs=5, keep="best"
        )


def drawn(ax) -> dict[str, np.ndarray]:
    return {line.get_label(): line for line in ax.lines}


def test_lines_are_the_records(fit):
    ax = plots.fit_trace(fit, elbo=True)
    lines = drawn(ax)
    wanted = {
        "loss (minimised)": [r.loss for r in fit.history],
        "validation NLL, ensemble": [r.validation_nll for r in fit.history],
        "validation NLL, one draw": [r.validation_draw_nll for r in fit.history],
        "minus validation ELBO": [-r.validation_elbo for r in fit.history],
    }
    for name, values in wanted.items():
        np.testing.assert_array_equal(lines[name].get_xdata(), [1, 2, 3, 4, 5])
        np.testing.assert_array_equal(lines[name].get_ydata(), values)
    assert len({(line.get_linestyle(), line.get_marker()) for line in ax.lines}) == 5
    assert list(drawn(plots.fit_trace(fit))) == [*list(wanted)[:3], list(lines)[-1]]


def test_the_epoch_that_was_kept_is_marked(fit):
    ax = plots.fit_trace(fit)
    kept = ax.lines[-1]
    assert set(kept.get_xdata()) == {fit.best_epoch}
    assert kept.get_label() == f"kept: epoch {fit.best_epoch} (all epochs done)"
    early = dataclasses.replace(fit, stopped="patience")
    assert "stopped by patience" in plots.fit_trace(early).lines[-1].get_label()


def test_records_alone_and_fits_without_validation_are_drawn(fit):
    bare = [
        dataclasses.replace(
            record, validation_nll=None, validation_draw_nll=None, validation_elbo=None
        )
        for record in fit.history[:1]
    ]
    ax = plots.fit_trace(bare, elbo=True, log=True)
    assert list(drawn(ax)) == ["loss (minimised)"]
    assert ax.get_yscale() == "log"
    ax.figure.canvas.draw()


def test_numbers_that_are_not_finite_leave_gaps(fit):
    broken = [dataclasses.replace(fit.history[0], validation_nll=math.inf), *fit.history[1:]]
    plots.fit_trace(broken).figure.canvas.draw()


def test_errors_say_what_to_pass(fit):
    name = r"^fit_trace\(\) needs "
    with pytest.raises(TypeError, match=name + r"the result of sbn\.fit.*: received float"):
        plots.fit_trace(3.0)
    with pytest.raises(TypeError, match=name + r"the result of sbn\.fit.*: received list"):
        plots.fit_trace([1.0, 2.0])
    with pytest.raises(ValueError, match=name + "at least one epoch"):
        plots.fit_trace([])
