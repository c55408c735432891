"""exact_posterior: what it takes, what it refuses, and in which words."""

import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.analysis import exact_posterior
from tests.analysis.networks import classifier, guide_of


def test_tensors_arrays_and_lists_of_either_precision_give_the_same():
    model, x, y = classifier()
    wanted = exact_posterior(model, x, y).log_evidence
    assert exact_posterior(model, x.numpy(), y.numpy()).log_evidence == wanted
    assert exact_posterior(model, x.tolist(), y.tolist()).log_evidence == wanted
    single = exact_posterior(model, x.float(), y.float()).log_evidence
    assert single == pytest.approx(wanted, abs=1e-6)


WRONG = {
    "weights": (
        lambda m, x, y: exact_posterior(sbn.models.BinaryMLP(4, [5], 2, num_data=3), x, y),
        ValueError,
        r'30 ±1 weights \("hidden.0.weight" 20, "output.weight" 10\), 2\^30 states; at most 20',
    ),
    "no_network": (lambda m, x, y: exact_posterior(len, x, y), TypeError, "BinaryMLP"),
    "real_weights": (
        lambda m, x, y: exact_posterior(
            sbn.models.BinaryMLP(2, [2], 2, num_data=3, real=["last"]), x, y
        ),
        ValueError,
        'layer "output" has real weights',
    ),
    "recalibrated": (
        lambda m, x, y: exact_posterior(
            sbn.models.BinaryMLP(2, [2], 2, num_data=5, normalisation="recalibrated"), x, y
        ),
        ValueError,
        'statistics of layer "hidden.0"',
    ),
    "temperature": (
        lambda m, x, y: exact_posterior(m, x, y, temperature=0),
        ValueError,
        "temperature=0 is not",
    ),
    "automatic": (
        lambda m, x, y: exact_posterior(m, x, y, temperature="auto"),
        ValueError,
        "fit.temperature",
    ),
    "target": (lambda m, x, y: exact_posterior(m, x, y, target="q"), ValueError, "'trained'"),
    "labels": (lambda m, x, y: exact_posterior(m, x, y + 1), ValueError, r"labels in 0 \.\.\. 1"),
    "fewer_labels": (lambda m, x, y: exact_posterior(m, x, y[1:]), ValueError, "one label a row"),
    "width": (lambda m, x, y: exact_posterior(m, x[:, :1], y), ValueError, r"\(rows, 2\)"),
    "nan": (lambda m, x, y: exact_posterior(m, x / 0, y), ValueError, "NaN or infinite"),
    "states": (
        lambda m, x, y: exact_posterior(m, x, y).weights([256]),
        ValueError,
        "from 0 to 255",
    ),
    "other_guide": (
        lambda m, x, y: exact_posterior(m, x, y).compare(guide_of(classifier(3)[0])),
        ValueError,
        "has shape",
    ),
    "other_sites": (
        lambda m, x, y: exact_posterior(m, x, y).compare({"w": 0.5}),
        ValueError,
        "weights at w",
    ),
    "no_law": (lambda m, x, y: exact_posterior(m, x, y).compare(3), TypeError, "a law over ±1"),
    "no_probability": (
        lambda m, x, y: exact_posterior(m, x, y).compare(
            {site: 2 * p for site, p in guide_of(m).weight_probabilities().items()}
        ),
        ValueError,
        r"lie in \[0, 1\]",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused(name):
    call, error, words = WRONG[name]
    with pytest.raises(error, match=words):
        call(*classifier())


def test_too_many_activations_are_refused():
    torch.manual_seed(0)
    model = sbn.models.BinaryMLP(2, [13], 2, num_data=3, real=["last"])
    guide = sbn.guides.AutoHybrid(model, real="point")
    posterior = sbn.Posterior.from_guide(model, guide, input_range=4.0)
    with pytest.raises(ValueError, match="26 ±1 weights"):
        exact_posterior(posterior, [[0.0, 1.0]], [0])
    model = sbn.models.BinaryMLP(2, [13], 2, num_data=3, real=["first"])
    posterior = sbn.Posterior.from_guide(
        model, sbn.guides.AutoHybrid(model, real="point"), input_range=4.0
    )
    with pytest.raises(ValueError, match="26 ±1 weights"):
        exact_posterior(posterior, [[0.0, 1.0]], [0])
    model = sbn.models.BinaryRegressor(2, [13], num_data=3, real=["first"])
    posterior = sbn.Posterior.from_guide(
        model, sbn.guides.AutoHybrid(model, real="point"), input_range=4.0
    )
    with pytest.raises(ValueError, match=r"has 13 ±1 activations, 2\^13 states"):
        exact_posterior(posterior, [[0.0, 1.0]], [0.0])
    spread = sbn.Posterior.from_guide(model, sbn.guides.AutoHybrid(model), input_range=4.0)
    with pytest.raises(ValueError, match="with a spread"):
        exact_posterior(spread, [[0.0, 1.0]], [0.0])


def test_components_of_other_scales_are_other_models():
    model, x, y = classifier()
    posteriors = [
        sbn.Posterior.from_guide(each, guide_of(each), input_range=4.0)
        for each in (model, classifier(seed=1)[0])
    ]
    same = sbn.Posterior.mixture([posteriors[0], posteriors[0]])
    assert exact_posterior(same, x, y).num_weights == 8
    with pytest.raises(ValueError, match="component 1 of the posterior has other scales"):
        exact_posterior(sbn.Posterior.mixture(posteriors), x, y)


def test_repr_says_what_it_is():
    model, x, y = classifier()
    found = exact_posterior(model, x, y, temperature=0.5, target="trained")
    assert repr(found).startswith("ExactPosterior(8 ±1 weights, 5 rows, log evidence -")
    assert repr(found).endswith(", temperature 0.5, trained target)")
