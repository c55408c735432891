"""What a report states: the numbers of the functions that it calls."""

import datetime
import json

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.html_report.words import number
from bayes_sbn.json_numbers import in_json
from tests.html_report.parsed import Page
from tests.html_report.posteriors import labels, of_classes, of_reals, rows
from tests.html_report.test_page import made


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """Test rows, their predictions and a report of them, with rows from elsewhere."""
    path = tmp_path_factory.mktemp("classes") / "r.html"
    posterior, x, y, ood = of_classes(), rows(), labels(), rows(seed=9)
    found = sbn.report(
        posterior, x, y, path, draws=7, seed=3, ood=ood, train=(x[:10], y[:10]), bootstrap=60
    )
    ensemble = posterior.draw(7, seed=3)
    return found, ensemble.predict(x), ensemble.predict(ood), y, Page(path.read_text("utf-8"))


def test_scores_are_those_of_metrics_report(classes):
    found, pred, _, y, page = classes
    wanted = sbn.metrics.report(pred, y, detail=True, bootstrap=60, seed=3)
    assert found.numbers["scores"]["metrics"] == wanted.to_dict()["metrics"]
    assert found.numbers["scores"]["tests"] == wanted.to_dict()["tests"]
    tables = [t for t in page.tables if t[0][0] == "score" and "95 % interval" in t[0]]
    assert [len(t) for t in tables] == [7, len(wanted) - 5]
    for cells, row in zip(tables[0][1:] + tables[1][1:], wanted, strict=True):
        assert cells == [
            row.metric,
            number(row.value),
            f"{number(row.low)} to {number(row.high)}",
            row.convention,
        ]
    single = np.mean([(p.argmax(-1) == y).mean() for p in pred.probs_per_draw])
    assert found.numbers["scores"]["single_draw_accuracy"] == pytest.approx(single, abs=1e-12)


def test_confusions_are_scikit_learns(classes):
    from sklearn.metrics import classification_report, confusion_matrix

    found, pred, _, y, page = classes
    counts = confusion_matrix(y, pred.mode)
    assert found.numbers["classes"]["confusions"] == counts.tolist()
    by_class = classification_report(y, pred.mode, output_dict=True)
    table = next(t for t in page.tables if "recall" in t[0])
    for c, cells in enumerate(table[1:]):
        assert cells[1] == f"{by_class[str(c)]['support']:.0f}"
        assert cells[4] == f"{100 * by_class[str(c)]['recall']:.1f} %"
        assert cells[5] == f"{100 * by_class[str(c)]['precision']:.1f} %"
    matrix = next(t for t in page.tables if t[0][0].startswith("true"))
    stated = [[int(cell.replace("·", "0")) for cell in cells[1:]] for cells in matrix[1:]]
    assert stated == counts.tolist()


def test_rows_from_elsewhere_are_scored_by_ood(classes):
    found, pred, outside, _, _ = classes
    for score in ("max_prob", "entropy", "epistemic", "variation_ratio"):
        wanted = sbn.metrics.ood(pred, outside, score=score)
        stated = found.numbers["elsewhere"][score]
        for name in ("auroc", "aupr_in", "aupr_out", "fpr95"):
            assert stated[name] == getattr(wanted, name)


def test_rows_from_elsewhere_of_a_real_target(tmp_path):
    from sklearn.metrics import roc_auc_score

    posterior, outside = of_reals(), 2 * rows(4, seed=9).clip(-2, 2)
    found = made(tmp_path / "r.html", posterior, ood=outside, rescale=(5.0, 20.0))
    ensemble = posterior.draw(5, seed=0)
    pairs = [ensemble.predict(x).rescaled(5.0, 20.0) for x in (rows(4), outside)]
    is_outside = np.repeat([0, 1], 40)
    for name, std in (("std", lambda p: p.std), ("epistemic_std", lambda p: p.epistemic**0.5)):
        wanted = roc_auc_score(is_outside, np.concatenate([std(pred) for pred in pairs]))
        assert found.numbers["elsewhere"][name]["auroc"] == pytest.approx(wanted, abs=1e-12)


def test_leaving_rows_to_others_has_the_risks_of_metrics(classes):
    found, pred, _, y, page = classes
    table = next(t for t in page.tables if t[0][0] == "rows kept")
    for j, score in enumerate(("max_prob", "epistemic"), 1):
        stated = found.numbers["abstention"][score]
        assert stated["aurc"] == sbn.metrics.aurc(pred, y, score=score)
        for cells, (coverage, risk) in zip(table[1:], stated["risk"].items(), strict=True):
            assert risk == sbn.metrics.risk_at_coverage(pred, y, float(coverage), score=score)
            assert cells[j] == f"{100 * risk:.1f} %"
    assert stated["risk"]["1.0"] == pytest.approx(np.mean(pred.mode != y), abs=1e-12)


def test_cases_are_the_extreme_rows(classes):
    found, pred, _, y, _ = classes
    unsure = [case["row"] for case in found.numbers["cases"]["least_sure"]]
    assert unsure == sorted(range(len(y)), key=lambda row: -pred.entropy[row])[:12]
    wrong = [row for row in range(len(y)) if pred.mode[row] != y[row]]
    assert [case["row"] for case in found.numbers["cases"]["sure_and_wrong"]] == sorted(
        wrong, key=lambda row: -pred.mean[row].max()
    )[:12]


def test_data_are_counted(classes):
    found = classes[0].numbers["data"]
    assert (found["training"]["rows"], found["test"]["rows"]) == (10, 40)
    assert found["test_rows_in_training"] == 10
    assert found["input_error"] == of_classes().input_error(rows())


def test_result_is_json(classes):
    found = json.loads(classes[0].to_json())
    assert tuple(found["sections"]) == classes[0].sections
    assert found == classes[0].to_dict()
    assert str(classes[0].path) in str(classes[0])


def test_real_scores_are_those_of_metrics(tmp_path):
    posterior, x = of_reals(), rows(4)
    y = 20 + 5 * rows(1, seed=5)[:, 0]
    found = sbn.report(
        posterior, x, y, tmp_path / "r.html", draws=6, bootstrap=60, rescale=(5.0, 20.0)
    )
    pred = posterior.draw(6, seed=0).predict(x).rescaled(5.0, 20.0)
    stated = found.numbers["scores"]["metrics"]
    assert stated == sbn.metrics.report(pred, y, bootstrap=60).to_dict()["metrics"]
    for name in ("nlpd", "crps", "rmse", "mae", "interval_score"):
        metric = getattr(sbn.metrics, name)
        assert stated[name]["value"] == pytest.approx(metric(pred, y), abs=1e-12)
    assert stated["coverage"]["value"] == sbn.metrics.interval_coverage(pred, y, 0.9)
    assert found.numbers["calibration"]["coverage"]["0.9"] == stated["coverage"]["value"]
    assert found.numbers["calibration"]["pit_p_value"] == sbn.metrics.pit_test(pred, y).p_value
    means = pred.mean_per_draw
    assert found.numbers["draws"] == {
        "epistemic": pytest.approx(means.var(axis=0).mean(), rel=1e-12),
        "epistemic_corrected": pytest.approx(means.var(axis=0, ddof=1).mean(), rel=1e-12),
    }
    widest = [case["row"] for case in found.numbers["cases"]["least_sure"]]
    assert widest == sorted(range(len(y)), key=lambda row: -pred.std[row])[:12]


@pytest.mark.parametrize("kind", ["classes", "reals"])
def test_diagnosis_is_that_of_the_training_rows(kind, tmp_path):
    is_real = kind == "reals"
    posterior = of_reals() if is_real else of_classes()
    inputs = posterior.num_inputs
    x, x_train = rows(inputs), rows(inputs, seed=7)
    y, y_train = labels(), labels(seed=8)
    options = {}
    if is_real:
        y, y_train = rows(1, seed=5)[:, 0], rows(1, seed=6)[:, 0]
        options = {"rescale": (10.0, 50.0)}
    exported = sbn.to_arviz(posterior, x_train, y_train, num_draws=20, x_test=x, y_test=y)
    wanted = sbn.diagnose(exported)
    if is_real:
        y, y_train = 50 + 10 * y, 50 + 10 * y_train
    found = sbn.report(
        posterior,
        x,
        y,
        tmp_path / "r.html",
        draws=20,
        train=(x_train, y_train),
        bootstrap=50,
        detail=False,
        **options,
    )
    stated, told = (in_json(each) for each in (found.numbers["diagnostics"], wanted.to_dict()))
    if is_real:  # standardised again, with rounding
        assert stated["held_out"]["elpd"] == pytest.approx(told["held_out"]["elpd"], rel=1e-9)
    else:
        assert stated == told
    text = Page((tmp_path / "r.html").read_text("utf-8")).text
    for flag in wanted.flags:
        assert " ".join(flag.split()[:6]) in text
    assert "Do data drawn from the model look like the data?" in text


def test_diagnosis_needs_training_rows_and_draws(tmp_path):
    train = (rows(seed=7), labels(seed=8))
    assert "diagnostics" not in made(tmp_path / "r.html", draws=20).sections
    assert "diagnostics" not in made(tmp_path / "r.html", draws=19, train=train).sections
    found = made(tmp_path / "r.html", draws=20, train=train, diagnosis=False)
    assert "diagnostics" not in found.sections


def test_course_of_a_fit_is_told(tmp_path):
    torch.manual_seed(0)
    model = sbn.models.BinaryMLP(6, [5], 3, num_data=40)
    guide = sbn.guides.AutoSignBernoulli(model)
    x, y = torch.tensor(rows()), torch.tensor(labels())
    fit = sbn.fit(model, guide, (x, y), validation=(x, y), epochs=3, checkpoint=tmp_path / "run")
    posterior = sbn.Posterior.from_guide(model, guide, temperature=fit.temperature)
    whole = made(tmp_path / "a.html", posterior, fit=fit).numbers["training"]
    read = made(tmp_path / "b.html", posterior, fit=tmp_path / "run").numbers["training"]
    assert (whole["epochs"], whole["kept_epoch"], whole["stopped"]) == (3, 3, "epochs")
    assert (read["kept_epoch"], read["stopped"]) == (None, None)
    for name in ("epochs", "best_epoch", "seconds", "last"):
        assert read[name] == whole[name]
    assert str(tmp_path / "run") in Page((tmp_path / "b.html").read_text("utf-8")).text
    assert "training" not in made(tmp_path / "c.html", posterior).sections


def test_mixtures_draw_the_signs_of_each_component(tmp_path):
    mixture = sbn.Posterior.mixture([of_classes(), of_classes().mode()], [3, 1])
    found = made(tmp_path / "r.html", mixture)
    page = Page(found.path.read_text("utf-8"))
    assert "Component 1. " in page.text
    assert "2, of weights 0.75, 0.25" in page.text
    assert found.numbers["model"]["entropy"] == sbn.summary(mixture).mean("entropy")


def test_inputs_are_shown_in_their_own_unit(tmp_path):
    scale, shift = np.arange(1.0, 7.0), np.full(6, 100.0)
    plain = made(tmp_path / "a.html", train=(rows(seed=7), labels(seed=8))).numbers
    found = made(
        tmp_path / "b.html",
        train=(rows(seed=7).astype(np.float32), labels(seed=8)),
        rescale_inputs=(scale, shift),
        row_names=[f"line {2 * i}" for i in range(40)],
    )
    assert found.numbers["scores"] == plain["scores"]
    x = rows() * scale + shift
    assert found.numbers["data"]["test"]["maximum"] == pytest.approx(x.max())
    assert [case["row"] for case in found.numbers["cases"]["least_sure"]] == [
        case["row"] for case in plain["cases"]["least_sure"]
    ]
    page = Page((tmp_path / "b.html").read_text("utf-8"))
    row = found.numbers["cases"]["least_sure"][0]["row"]
    train = rows(seed=7) * scale + shift
    words = ", ".join(
        f"x{j} {x[row, j]:.4g} ({(x[row, j] - train[:, j].mean()) / train[:, j].std():+.1f} sd)"
        for j in range(6)
    )
    assert words in page.text
    assert f"line {2 * row}" in page.text


def test_recalibrated_predictions_are_judged(tmp_path):
    posterior, x, y = of_classes(), rows(), labels()
    ensemble = posterior.draw(5, seed=0)
    pred = ensemble.predict(x)
    held_out = ensemble.predict(rows(number=100, seed=7))
    true = np.where(np.arange(100) % 3, held_out.mode, (held_out.mode + 1) % 3)
    method = sbn.recalibration.TemperatureScaling().fit(held_out, true)
    found = made(tmp_path / "r.html", posterior, recalibration=method)
    wanted = sbn.metrics.report(method.apply(pred), y, bootstrap=50)
    assert found.numbers["scores"]["metrics"] == wanted.to_dict()["metrics"]
    assert repr(method) in Page((tmp_path / "r.html").read_text("utf-8")).text


def test_one_row_of_one_class_and_one_draw(tmp_path):
    found = sbn.report(
        of_classes(), rows(number=1), [0], tmp_path / "r.html", draws=1, bootstrap=50, detail=False
    )
    assert "draws" not in found.sections
    assert found.numbers["scores"]["num_rows"] == 1


def test_float32_tensors_give_the_report_of_arrays(tmp_path):
    x = np.round(rows() * 64) / 64  # exact in float32
    first = sbn.report(
        of_classes(), x, labels(), tmp_path / "a.html", draws=3, bootstrap=50, detail=False
    )
    second = sbn.report(
        of_classes(),
        torch.tensor(x, dtype=torch.float32),
        torch.tensor(labels()),
        tmp_path / "b.html",
        draws=3,
        bootstrap=50,
        detail=False,
    )
    assert first.numbers["scores"] == second.numbers["scores"]


def test_date_may_be_a_datetime(tmp_path):
    date = datetime.datetime(2026, 1, 31, 12, 30, tzinfo=datetime.UTC)
    assert made(tmp_path / "r.html", date=date).numbers["origin"]["date"] == "2026-01-31 12:30 UTC"
