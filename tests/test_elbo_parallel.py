"""``DataParallel_ELBO``: two processes follow the trajectory of one, or all of them say why not."""

import os
import subprocess
import sys

import pytest
import torch
from pyro.infer import SVI

import bayes_sbn as sbn
from bayes_sbn.elbo_ranks import Ranks
from bayes_sbn.training_folder import CHECKPOINT, LOG
from tests import chance, parallel_runs
from tests.parallel_runs import ROOT, TRAJECTORIES, two_processes
from tests.test_docs import blocks
from tests.test_training import assert_equal, network, numbers, order, rows


def assert_follows(found, wanted, tolerance=1e-6):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=tolerance, msg=name)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What both of two processes came to in all runs, and the folder of their fits."""
    folder = tmp_path_factory.mktemp("ranks")
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # as each test has it, and the two processes
    try:
        assert parallel_runs.broken_fit(folder / "begun") == 2
    finally:
        torch.set_default_dtype(dtype)
    return two_processes(folder), folder


# ---- shared draws --------------------------------------------------------------------------------


def test_two_processes_follow_the_trajectory_of_one(ranks):
    first, second = (rank["trajectories"] for rank in ranks[0])
    for name, run in TRAJECTORIES.items():
        assert_equal(second[name], first[name])  # to the last bit
        assert_follows(first[name], run(), 1e-10)
    assert len(first["psa"]["losses"]) == len(first["st"]["losses"]) == 21


def test_one_process_is_the_elbo_itself():
    x, y = rows()
    found = []
    for kind in (sbn.TraceEstimator_ELBO, sbn.DataParallel_ELBO):
        model, guide = network()
        svi = SVI(model, guide, sbn.optim.MirrorDescent({"lr": 0.05}), loss=kind("psa"))
        losses = [svi.step(x[k : k + 9], y[k : k + 9]) for k in range(5)]
        found.append((losses, numbers(model, guide)))
    assert found[0][0] == found[1][0]
    assert_equal(found[1][1], found[0][1])


def test_page_runs_under_torchrun(tmp_path):
    """The program of the page, on two processes, of which one says how it went."""
    page = (ROOT / "docs" / "parallel.md").read_text("utf-8")
    program = next(block.text for block in blocks(page) if block.language == "python")
    (tmp_path / "digits.py").write_text(program)
    command = "torch.distributed.run --standalone --nproc-per-node 2 digits.py"
    done = subprocess.run(
        [sys.executable, "-m", *command.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Fit: 5 epochs (") == 1
    assert (tmp_path / "run" / CHECKPOINT).exists()


# ---- independent draws ---------------------------------------------------------------------------


def test_independent_draws(ranks):
    first, second = (rank["independent"] for rank in ranks[0])
    check_another_way(first, second)
    check_mean_gradient(first, second)
    check_draws(first, second)


def check_another_way(first, second):
    """What shared draws are told apart by: without them the trajectory is another one."""
    one = TRAJECTORIES["psa"]()
    assert_equal(second["trajectory"], first["trajectory"])
    name = "posterior.hidden.0.weight"
    assert float((first["trajectory"][name] - one[name]).abs().max()) > 0.01


def check_mean_gradient(first, second):
    """Exact, over all pairs of draws of the two ranks, each with its probability."""
    elbo = sbn.TraceEstimator_ELBO("psa")
    mean = 0.0
    for state in parallel_runs.states():
        data = parallel_runs.one_layer_data()
        gradient, probs = parallel_runs.one_layer_gradient(state, elbo, *data)
        mean = mean + gradient * parallel_runs.probability(state, probs)
    assert float(mean.abs().min()) > 1e-3
    for rank in (first, second):
        torch.testing.assert_close(rank["forced mean"]["mean"], mean, rtol=0, atol=1e-10)


def check_draws(first, second):
    """The ranks' draws follow the posterior, and agree as often as independent ones."""
    drawn = torch.stack([r["draws"]["drawn"].flatten(1) for r in (first, second)])
    probs = first["draws"]["probs"].flatten()
    count = drawn.shape[1]
    for rank in range(2):
        chance.assert_count((drawn[rank] > 0).sum(0), count, probs, detects=0.3)
    agree = probs.square() + (1 - probs).square()
    chance.assert_count((drawn[0] == drawn[1]).sum(0), count, agree, detects=0.3)


# ---- errors --------------------------------------------------------------------------------------

SAYS = {
    "seeds": 'ranks 0 and 1 do not agree in parameter "posterior.hidden.0.weight"',
    "generators": "do not agree in the states of torch's global generators. Seed every process",
    "data": "do not agree in argument 1",
    "sizes": "do not agree in argument 1: [(20, 6)",
    "options": "do not agree in temperature: 0.5 and 1.5",
    "plate that draws": 'write pyro.plate("data", 37, subsample=x) in the model',
    "plate that follows": "its size must not follow the rows that come",
    "plate of all": 'the plate "data" has all 37 rows of a batch, of which a rank runs some',
    "no plate": 'the observed site "y" is in no plate that was given the rows',
    "buffers": "do not agree in the buffers of model and guide that the step changed",
    "statistics": 'layer "hidden.0" is normalised by statistics of the rows of a batch',
    "real latent": 'site "shift", a Normal in the plate "data", is drawn row by row',
    "state": 'estimator "score" learns from the costs of the rows that it sees',
    "differentiable": "DataParallel_ELBO.differentiable_loss: it has the rows of one process alone",
    "other rows": "numbers of rows: argument 1: 9, argument 2: 37; all tensors have the rows",
    "fit": "do not agree in batch_size: 10 and 11. Make the same call on every rank",
}


def test_what_cannot_be_split_is_an_error_on_all_ranks(ranks):
    first, second = (rank["errors"] for rank in ranks[0])
    for name, words in SAYS.items():
        for rank in (first, second):
            assert isinstance(rank[name], str), f"{name} was no error"
            assert words in rank[name], name
    assert second["broken on one"] == "KeyError: 'the last rows'"
    assert "rank 1 failed, so that all ranks stop: KeyError" in first["broken on one"]
    assert first["fit by one"].startswith("ValueError: fit(checkpoint=")
    assert "rank 0 failed, so that all ranks stop: ValueError" in second["fit by one"]
    assert first.keys() == SAYS.keys() | {"broken on one", "fit by one"}


def test_exact_is_refused():
    with pytest.raises(ValueError, match=r'Write TraceEstimator_ELBO\("exact"\)'):
        sbn.DataParallel_ELBO("exact")


def test_processes_that_do_not_know_of_each_other_are_an_error(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    model, guide = network()
    with pytest.raises(RuntimeError, match=r'init_process_group\("gloo"\) first'):
        sbn.DataParallel_ELBO("psa").loss_and_grads(model, guide, *rows())
    assert Ranks.alone().size == 1


# ---- sbn.fit -------------------------------------------------------------------------------------


def test_fit_of_two_processes_is_that_of_one_and_resumes(ranks, tmp_path):
    first, second = (rank["fits"] for rank in ranks[0])
    assert first["epochs of the broken one"] == second["epochs of the broken one"] == 2
    for run, place in (("whole", "whole"), ("resumed", "broken")):
        assert first[run]["history"] == second[run]["history"] == first["whole"]["history"]
        assert_equal(second[run]["numbers"], first["whole"]["numbers"])
        assert_equal(first[run]["numbers"], first["whole"]["numbers"])
        files = sorted(path.name for path in (ranks[1] / place).iterdir())
        assert files == [CHECKPOINT, LOG]
        assert len((ranks[1] / place / LOG).read_text().splitlines()) == 4
    # begun by one process, and ended by two
    assert_equal(second["begun by one"]["numbers"], first["begun by one"]["numbers"])
    assert_follows(first["begun by one"]["numbers"], first["whole"]["numbers"], 1e-9)
    one = parallel_runs.fitted(tmp_path / "one")
    assert first["whole"]["epoch"] == one["epoch"]
    assert_follows(first["whole"]["numbers"], one["numbers"], 1e-9)
    for record, wanted in zip(first["whole"]["history"], one["history"], strict=True):
        assert record == pytest.approx(wanted, rel=1e-9)


def test_only_the_first_process_shows_progress(monkeypatch):
    """What ``fit`` asks of the bar, as rank 1 of two would."""
    seen = []
    model, guide = network()
    elbo = sbn.DataParallel_ELBO("psa")
    monkeypatch.setattr(
        "bayes_sbn.training.Training.run", lambda self, progress: seen.append(progress) or "epochs"
    )
    for rank in (0, 1):
        monkeypatch.setattr(Ranks, "rank", property(lambda self, rank=rank: rank))
        sbn.fit(model, guide, rows(), elbo=elbo, epochs=1, progress=True, generator=order())
    assert seen == [True, False]
