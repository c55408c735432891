"""The temperature by held-out rows: candidates that differ in it alone, and the best kept."""

import json

import pytest
import torch

import bayes_sbn as sbn

X = torch.randn(90, 6, generator=torch.Generator().manual_seed(0)).float()
Y = X[:, :3].argmax(1)
DATA, HELD_OUT = (X[:60], Y[:60]), (X[60:], Y[60:])


def make():
    torch.set_default_dtype(torch.float32)
    model = sbn.models.BinaryMLP(6, [16], 3, num_data=60)
    return model, sbn.guides.AutoSignBernoulli(model)


def order():
    return torch.Generator().manual_seed(4)


def chosen(**options):
    torch.manual_seed(2)
    options = {"epochs": 6, "batch_size": 20, "generator": order(), **options}
    return sbn.choose_temperature(make, DATA, HELD_OUT, **options)


def test_rule_is_what_the_data_can_pay_for():
    model, guide = make()
    rule = sbn.temperature_rule(model, guide, *DATA)
    weights = 6 * 16 + 16 * 3
    assert rule == pytest.approx(60 * torch.tensor(3.0).log() / (weights * torch.tensor(2.0).log()))
    elbo = sbn.TraceEstimator_ELBO("psa", temperature="auto")
    elbo.loss(model, guide, *DATA)
    assert elbo.temperature == pytest.approx(min(1.0, rule / 10))


def test_candidates_are_the_fits_that_differ_in_temperature_alone():
    found = chosen(factors=(1, 0.1, 0.01))
    assert [c.factor for c in found.candidates] == [1, 0.1, 0.01]
    for candidate in found.candidates:
        assert candidate.temperature == pytest.approx(candidate.factor * found.rule)
        torch.manual_seed(2)
        model, guide = make()
        fit = sbn.fit(
            model,
            guide,
            DATA,
            validation=HELD_OUT,
            temperature=candidate.temperature,
            epochs=6,
            batch_size=20,
            generator=order(),
        )
        assert candidate.validation_nll == fit.history[-1].validation_nll
        if candidate is found.best:
            for name, value in guide.state_dict().items():
                assert torch.equal(found.guide.state_dict()[name], value)
            assert found.fit.history[-1].loss == fit.history[-1].loss
    assert found.best.validation_nll == min(c.validation_nll for c in found.candidates)
    assert found.temperature == found.best.temperature
    assert len({c.validation_nll for c in found.candidates}) == 3
    widths = [c.kl_bits_per_weight for c in found.candidates]
    assert widths[0] < widths[2]


def test_temperatures_above_one_are_one_and_fitted_once():
    found = chosen(factors=(1000, 100, 0.1), epochs=1)
    assert [c.temperature for c in found.candidates] == [1.0, pytest.approx(0.1 * found.rule)]


def test_a_choice_prints_and_goes_on_from_its_folder(tmp_path):
    found = chosen(factors=(1, 0.1), epochs=2, checkpoint=tmp_path)
    lines = str(found).splitlines()
    assert len(lines) == 4
    assert sum(line.endswith("*") for line in lines) == 1
    assert json.loads(json.dumps(found.to_dict()))["temperature"] == found.temperature
    assert len(list(tmp_path.glob("temperature-*/checkpoint.sbnfit"))) == 2
    again = chosen(factors=(1, 0.1), epochs=2, checkpoint=tmp_path)
    for one, two in zip(found.candidates, again.candidates, strict=True):
        assert one.validation_nll == two.validation_nll
    for name, value in found.guide.state_dict().items():
        assert torch.equal(again.guide.state_dict()[name], value)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"factors": ()}, ValueError, r"factors=\[\]\): they are positive multiples"),
        ({"factors": (0.1, -1)}, ValueError, "positive multiples of the rule"),
        ({"temperature": 0.1}, TypeError, r"choose_temperature\(temperature=...\): it is not"),
        ({"optim": None}, TypeError, "make_optim=lambda: sbn.optim.MirrorDescent"),
    ],
)
def test_wrong_options_are_errors(options, error, words):
    with pytest.raises(error, match=words):
        chosen(**options)


def test_each_candidate_has_an_optimiser_of_its_own():
    made = []

    def make_optim():
        made.append(sbn.optim.MirrorDescent({"lr": 0.1}))
        return made[-1]

    found = chosen(factors=(1, 0.1), epochs=1, make_optim=make_optim)
    assert len(made) == 2
    assert found.fit.optim in made
