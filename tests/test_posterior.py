"""Posterior: plain numbers from a guide, checked, immutable, and what is said about them."""

import dataclasses
import math
import pickle

import numpy as np
import pytest
import torch

from bayes_sbn import __version__
from bayes_sbn.posterior import Posterior
from bayes_sbn.posterior_layer import PosteriorLayer
from tests.plain_networks import PlainGuide, PlainModel, random_posterior


def layer(**changes) -> PosteriorLayer:
    """An output layer of 2 units and 3 inputs."""
    options = {
        "name": "fc",
        "site": 0,
        "probabilities": np.full((2, 3), 0.25),
        "scale": np.ones(2),
        "bias": np.zeros(2),
    }
    return PosteriorLayer(**{**options, **changes})


def test_from_guide_takes_every_number():
    model, guide = PlainModel(), PlainGuide()
    posterior = Posterior.from_guide(model, guide, 0.25, attrs={"data": ("digits", 1)})
    first, last = posterior.layers
    assert (first.name, first.site, first.noise, first.noise_scale) == (
        "hidden.0",
        0,
        "logistic",
        1.5,
    )
    assert (last.name, last.site, last.noise) == ("output", 1, None)
    for found, stated, name in zip(posterior.layers, model.layers, guide.posterior, strict=True):
        np.testing.assert_array_equal(found.scale, stated["scale"].detach().double().numpy())
        np.testing.assert_array_equal(found.bias, stated["bias"].numpy())
        error = np.abs(found.probabilities - guide.posterior[name].numpy())
        assert error.max() <= 2.0**-33
        np.testing.assert_array_equal(found.probabilities * 2**32 % 1, 0)
    assert first.prior.shape == ()
    assert first.prior == 0.25
    np.testing.assert_array_equal(last.prior, guide.prior["output.weight"].numpy())
    assert posterior.input_scale == 2.0**-12
    assert posterior.temperature == 0.25
    assert posterior.likelihood == "categorical"
    assert posterior.package_version == __version__
    assert posterior.attrs == {"data": ["digits", 1]}
    assert (posterior.num_inputs, posterior.num_classes, posterior.num_weights) == (3, 2, 20)


def test_from_guide_does_not_depend_on_the_default_dtype():
    expected = Posterior.from_guide(PlainModel(), PlainGuide()).digest
    torch.set_default_dtype(torch.float32)
    assert Posterior.from_guide(PlainModel(), PlainGuide()).digest == expected


@pytest.mark.parametrize(
    ("input_range", "step"),
    [(1.0, 2.0**-14), (0.9, 2.0**-15), (32767.0, 1.0), (32768.0, 2.0), (8, 2.0**-11)],
)
def test_from_guide_input_range_takes_the_least_power_of_two_that_holds_it(input_range, step):
    posterior = Posterior.from_guide(PlainModel(), PlainGuide(), input_range=input_range)
    assert posterior.input_scale == step
    assert posterior.input_limit >= input_range
    assert posterior.input_limit / 2 < input_range
    assert posterior.input_error(np.full((1, 3), input_range)) <= step / 2


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_from_guide_refuses_an_input_range_that_is_none(bad):
    with pytest.raises(ValueError, match=r"input_range=.*positive finite number"):
        Posterior.from_guide(PlainModel(), PlainGuide(), input_range=bad)


def my_model(x):
    return x


def test_from_guide_names_what_to_use_for_a_model_of_ones_own():
    message = (
        r"received my_model, which has no architecture\(\)\. Predict with a model of your own by "
        r"bayes_sbn\.PackedPredictive, or,.* by pyro\.infer\.Predictive; give .*Predictions\(probs"
    )
    with pytest.raises(TypeError, match=message):
        Posterior.from_guide(my_model, PlainGuide())


def test_from_guide_names_a_guide_that_cannot_be_exported():
    class AutoNormal:
        pass

    with pytest.raises(
        TypeError, match=r"received AutoNormal, which lacks weight_probabilities\(\)"
    ):
        Posterior.from_guide(PlainModel(), AutoNormal())


@pytest.mark.parametrize("name", ["scale", "bias"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_from_guide_names_the_layer_of_a_number_that_is_not_finite(name, bad):
    model = PlainModel()
    model.layers[1][name] = torch.tensor([1.0, bad])
    with pytest.raises(ValueError, match=rf'layer "output" has 1 values in {name} that are NaN'):
        Posterior.from_guide(model, PlainGuide())


def test_from_guide_names_the_layer_of_a_probability_that_is_none():
    guide = PlainGuide()
    guide.posterior["hidden.0.weight"][2, 1] = math.nan
    with pytest.raises(ValueError, match=r'layer "hidden\.0" has 1 values in probabilities'):
        Posterior.from_guide(PlainModel(), guide)
    guide = PlainGuide()
    guide.prior["output.weight"][0, 0] = -0.5
    with pytest.raises(ValueError, match=r'layer "output" has prior from -0\.5 .*\(1 \+ mu\) / 2'):
        Posterior.from_guide(PlainModel(), guide)


def test_from_guide_names_sites_that_do_not_fit():
    guide = PlainGuide()
    del guide.posterior["output.weight"]
    with pytest.raises(ValueError, match=r'no weights at site "output\.weight" of layer "output"'):
        Posterior.from_guide(PlainModel(), guide)
    guide = PlainGuide()
    guide.posterior["extra"] = torch.ones(1, 1)
    with pytest.raises(ValueError, match=r"weights at extra, which no layer of"):
        Posterior.from_guide(PlainModel(), guide)


def test_from_guide_names_what_an_architecture_lacks():
    model = PlainModel()
    del model.layers[0]["noise_scale"]
    with pytest.raises(TypeError, match=r"layer 0 of model\.architecture\(\) lacks noise_scale"):
        Posterior.from_guide(model, PlainGuide())
    with pytest.raises(TypeError, match=r'\["layers"\] is int; it is a list'):
        Posterior.from_guide(PlainModel(layers=3), PlainGuide())
    with pytest.raises(ValueError, match=r"='poisson'\): this version has 'categorical' and"):
        Posterior.from_guide(PlainModel(likelihood="poisson"), PlainGuide())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"site": 65536}, r"site 65536: a site is an integer from 0 to 65535"),
        ({"probabilities": np.ones(3)}, r"probabilities of shape \(3,\): .* \(out, in\)"),
        ({"probabilities": np.ones((2, 3, 3, 3))}, r"Other layers cannot be exported"),
        ({"probabilities": np.ones((2, 0))}, r"probabilities of shape \(2, 0\)"),
        ({"probabilities": np.full((2, 3), 1.5)}, r"probabilities from 1\.5 to 1\.5"),
        ({"prior": np.ones((3, 2))}, r"prior of shape \(3, 2\)"),
        ({"scale": np.ones(3)}, r"scale of shape \(3,\): it has one for each of the 2 units"),
        ({"bias": np.ones((2, 1))}, r"bias of shape \(2, 1\)"),
        ({"noise": "cauchy"}, r"noise 'cauchy': it is one of 'logistic', .*'triangular', or None"),
        ({"noise": "logistic", "noise_scale": 0.0}, r"noise_scale 0\.0: it is a positive finite"),
    ],
)
def test_layer_refuses_numbers_that_are_not_those_of_a_layer(changes, message):
    with pytest.raises(ValueError, match=rf'PosteriorLayer: layer "fc" has .*{message}'):
        layer(**changes)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((), r"at least one layer"),
        ((layer(noise="logistic"),), r"the last layer has noise None"),
        ((layer(), layer(site=1)), r'layer "fc" has 2 units but layer "fc" has 3 inputs'),
        (
            (layer(), layer(site=1, probabilities=np.ones((2, 2)))),
            r"noise None: the last layer has noise None, and every other one a law",
        ),
        (
            (layer(noise="logistic"), layer(probabilities=np.ones((2, 2)))),
            r"sites \[0, 0\] are not all different",
        ),
        ((layer(probabilities=np.ones((1, 3)), scale=[1], bias=[0]),), r"at least two classes"),
        ((layer(scale=[1.0, 1e300]),), r'layer "fc" has a scale or bias so large'),
    ],
)
def test_posterior_refuses_layers_that_make_no_network(layers, message):
    with pytest.raises(ValueError, match=message):
        Posterior(layers, 1.0)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_posterior_refuses_an_input_scale_that_is_none(bad):
    with pytest.raises(ValueError, match=r"input_scale=.*positive finite number"):
        Posterior((layer(),), bad)


@pytest.mark.parametrize("bad", [-1.0, math.nan])
def test_posterior_refuses_a_temperature_that_is_none(bad):
    with pytest.raises(ValueError, match=r"temperature=.*not negative"):
        Posterior((layer(),), 1.0, temperature=bad)


def test_posterior_refuses_attrs_that_json_cannot_hold():
    with pytest.raises(TypeError, match=r"attrs are kept as JSON, which cannot hold these"):
        Posterior((layer(),), 1.0, attrs={"x": np.zeros(2)})
    with pytest.raises(TypeError, match="finite numbers"):
        Posterior((layer(),), 1.0, attrs={"x": math.nan})


def test_posterior_is_immutable_and_shares_no_array():
    p = np.full((2, 3), 0.25)
    posterior = Posterior((layer(probabilities=p),), 1.0)
    p[:] = 0.75
    assert (posterior.layers[0].probabilities == 0.25).all()
    with pytest.raises(ValueError, match="read-only"):
        posterior.layers[0].scale[0] = 2.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        posterior.input_scale = 2.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        posterior.layers[0].site = 2


def test_posterior_survives_a_process_boundary():
    posterior = random_posterior()
    assert pickle.loads(pickle.dumps(posterior)).digest == posterior.digest


def test_entropy_is_that_of_the_weights():
    p = np.array([[0.5, 0.25, 0.0], [1.0, 0.5, 0.75]])
    quarter = 2 - 0.75 * math.log2(3)
    posterior = Posterior((layer(probabilities=p),), 1.0)
    assert posterior.entropy == pytest.approx(2 + 2 * quarter, rel=1e-14)
    assert posterior.bits_per_weight == pytest.approx((2 + 2 * quarter) / 6, rel=1e-14)
    assert posterior.layers[0].bits_per_weight == posterior.bits_per_weight
    assert posterior.mode().entropy == 0.0


def test_digest_covers_every_number_and_only_those():
    posterior = random_posterior()
    first = posterior.layers[0]
    same = [
        random_posterior(),
        dataclasses.replace(posterior, attrs={"a": 1}),
        dataclasses.replace(posterior, package_version="9"),
    ]
    assert {p.digest for p in same} == {posterior.digest}
    p = first.probabilities.copy()
    p[1, 1] += 2.0**-32
    changes = [
        {"probabilities": p},
        {"scale": np.nextafter(first.scale, 9)},
        {"bias": np.nextafter(first.bias, 9)},
        {"noise": "laplace"},
        {"noise_scale": 1.5},
        {"site": 9},
        {"name": "other"},
        {"prior": 0.5},
    ]
    others = [
        dataclasses.replace(
            posterior, components=(dataclasses.replace(first, **change), *posterior.layers[1:])
        )
        for change in changes
    ]
    others += [
        dataclasses.replace(posterior, input_scale=0.5),
        dataclasses.replace(posterior, temperature=0.5),
    ]
    assert len({p.digest for p in (posterior, *others)}) == 1 + len(others)


def test_mode_fixes_every_weight_at_its_likelier_sign():
    p = np.array([[0.5, 0.25, 0.0], [1.0, 0.51, 0.49]])
    mode = Posterior((layer(probabilities=p),), 1.0).mode()
    assert mode.layers[0].probabilities.tolist() == [[1, 0, 0], [1, 1, 0]]


def test_mode_still_samples_the_activations():
    posterior = random_posterior().mode()
    ensemble = posterior.draw(40)
    for bits in ensemble.weights:
        assert (bits.data == bits.data[:1]).all()
    logits = ensemble.integer_logits(np.zeros((1, 5)))
    assert len(np.unique(logits, axis=0)) > 1


def test_input_error_is_that_of_the_rounding():
    posterior = Posterior((layer(),), 0.25)
    x = np.array([[0.25, -1.0, 3.5], [0.3, 0.0, 100.11]])
    assert posterior.input_error(x[:1]) == 0.0
    assert posterior.input_error(x) == pytest.approx(0.11, abs=1e-12)
    assert posterior.input_error(torch.tensor(x)) == posterior.input_error(x)
    assert posterior.input_error(x[:0]) == 0.0
    with pytest.raises(ValueError, match=r"Posterior\.input_error\(\) received 1 values beyond"):
        posterior.input_error(np.full((1, 3), [0, 0, 1e5]))


@pytest.mark.parametrize("bad", [0, -3, 2**32 + 1])
def test_draw_refuses_a_number_of_draws_that_is_none(bad):
    with pytest.raises(ValueError, match=rf"Posterior\.draw\({bad}\): .* between 1 and 2\*\*32"):
        random_posterior().draw(bad)


def test_draw_refuses_seeds_outside_64_bits():
    with pytest.raises(ValueError, match=r"seed=-1.*\[0, 2\*\*64\)"):
        random_posterior().draw(3, seed=-1)
    with pytest.raises(ValueError, match=r"stream=18446744073709551616"):
        random_posterior().draw(3, stream=2**64)


def test_repr_shows_layers_bits_and_memory():
    text = repr(random_posterior((40, 8, 6, 3), temperature=0.5))
    lines = text.splitlines()
    assert lines[0].startswith("Posterior(categorical, 386 ±1 weights of 0.")
    assert "inputs within ±31.999, temperature 0.5)" in lines[0]
    assert lines[2].split()[:4] == ["layer0", "40", "8", "logistic(1.25)"]
    assert lines[2].split()[-1] == "64"
    assert lines[-1].split()[0] == "total"
    assert lines[-1].split()[-1] == str(64 + 24 + 12)
    assert max(map(len, lines)) < 100
