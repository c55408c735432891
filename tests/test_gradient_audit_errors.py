"""What an audit says to wrong arguments, to what it cannot look at, and to wrong names."""

import pyro
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.estimators import (
    Exact,
    PathSampleAnalytic,
    StraightThrough,
)
from tests.test_gradient_audit import mlp


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"estimators": ["psi"]}, ValueError, r'audit\(estimators=...\): estimator="psi" is not'),
        ({"estimators": [StraightThrough]}, TypeError, r"audit\(estimators.*is a class; pass an"),
        ({"estimators": "psa"}, TypeError, r"needs a list, or a dict by label; write \['psa'\]"),
        ({"estimators": []}, ValueError, "needs at least one"),
        ({"estimators": ["st", "st"]}, ValueError, 'the label "st" is taken'),
        ({"estimators": ["st", "exact"]}, ValueError, '"exact" is no estimate.*compared with'),
        ({"estimators": {"mine": Exact()}}, ValueError, "Leave it out and see audit.reference"),
        ({"estimators": {"exact": "st"}}, ValueError, 'the label "exact" is taken'),
        ({"repeats": 3}, ValueError, r"audit\(repeats=3\): repeats is an integer of at least 4"),
        ({"repeats": 10.0}, ValueError, "repeats is an integer"),
        ({"exact_bits": 21}, ValueError, r"exact_bits is an integer from 0 to 20"),
        ({"num_particles": 0}, ValueError, "num_particles is an integer of at least 1"),
        ({"seed": -1}, ValueError, "seed is an integer of at least 0"),
        ({"temperature": -1.0}, ValueError, "temperature is a number"),
        ({"parameters": {"c": torch.ones(1)}}, ValueError, "no parameters that require gradients"),
    ],
)
def test_audit_names_what_is_wrong(options, error, message):
    model, guide, batch = mlp()
    with pytest.raises(error, match=message):
        sbn.audit(model, guide, batch, **{"estimators": ["psa"], **options})


def test_audit_refuses_a_guide_without_parameters():
    def model(x):
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(2, 2)).to_event(2))
        pyro.sample("y", sbn.AffineCategorical(sbn.affine(x, w)), obs=torch.tensor(1))

    guide = sbn.guides.AutoSignBernoulli(model)
    with pytest.raises(ValueError, match="the guide has no parameters before its first call"):
        sbn.audit(model, guide, torch.ones(2), ["st"])
    assert not guide.is_set_up
    guide = sbn.guides.AutoSignBernoulli(model, example=(torch.ones(2),))
    assert sbn.audit(model, guide, torch.ones(2), ["st"])["st"].is_exact  # no plate at all


def test_audit_names_an_estimator_whose_gradient_is_not_finite():
    class Infinite(sbn.Estimator):
        def draw(self, site, uniform):
            return site.fn.draw(uniform)

        def surrogate(self, site, cost, rerun):
            return site.fn.mean_path().sum() * float("inf")

    model, guide, batch = mlp()
    with pytest.raises(RuntimeError, match=r'estimator "Infinite" in ".*" has infinite or NaN'):
        sbn.audit(model, guide, batch, {"mine": Infinite()}, exact_bits=0)


def test_lookups_name_what_there_is():
    model, guide, batch = mlp()
    found = sbn.audit(model, guide, batch, {"exact flips": PathSampleAnalytic(real_inputs="exact")})
    with pytest.raises(KeyError, match="it has exact flips"):
        found["psa"]
    with pytest.raises(KeyError, match="no block; they are"):
        found["exact flips"]["bias"]
    with pytest.raises(KeyError, match="the gradients compared are exact, exact flips"):
        found.cosine("psa", "exact")
    assert found["exact flips"]["all"] is found["exact flips"].total
