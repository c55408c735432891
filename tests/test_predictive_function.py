"""PackedPredictive of functions: their layers are read off their laws, or they are refused."""

import pyro
import pytest
import torch
from pyro.infer import Predictive

import bayes_sbn as sbn
from bayes_sbn.predictive import PackedPredictive
from tests.chance import assert_mean, seed
from tests.predictive_networks import NETWORKS, looks, network, rows

RANGE = 8.0


def weight(name: str, units: int, inputs: int):
    return pyro.sample(name, sbn.SignBernoulli(logits=torch.zeros(units, inputs)).to_event(2))


def my_model(x, y=None):
    """Real numbers in the head, a scale that is one number, no bias below."""
    w1 = weight("w1", 6, 5)
    w2 = pyro.param("w2", lambda: torch.randn(3, 6))
    b2 = pyro.param("b2", lambda: torch.randn(3))
    with pyro.plate("data", 90, subsample=x, dim=-1):
        h = pyro.sample("h", sbn.NoisySign(sbn.affine(x, w1, scale=0.4), noise="gaussian"))
        scale = torch.tensor([1.0, 2.0, 0.5])
        return pyro.sample("y", sbn.AffineCategorical(sbn.affine(h, w2, b2, scale=scale)), obs=y)


def guide_of(model):
    return sbn.guides.AutoSignBernoulli(model, example=(rows(2),))


def test_samples_look_like_those_of_predictive():
    guide = guide_of(my_model)
    for args in ((rows(),), (rows(), torch.arange(7) % 3)):
        for sites in ((), ("y", "_RETURN"), ("h", "w1")):
            found = PackedPredictive(my_model, guide, 4, sites, input_range=RANGE)(*args)
            stock = Predictive(my_model, guide=guide, num_samples=4, return_sites=sites)(*args)
            assert looks(found) == looks(stock)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_that_is_wrapped_in_a_function_gives_the_same_samples(name):
    """Bit for bit: scales, biases, laws, weights, their order and their roles are all read."""
    model, guide = NETWORKS[name]()
    x = rows().to(model.output.bias.dtype)

    def wrapped(inputs, targets=None):
        return model(inputs, targets)

    found, wanted = (
        PackedPredictive(each, guide, 9, seed=3, input_range=RANGE)(x) for each in (wrapped, model)
    )
    assert list(found) == list(wanted)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_numbers_of_a_layer_are_its_weights_times_its_scale():
    guide = guide_of(my_model)
    x = rows()
    number, base = 20_000, seed("numbers")
    samples = PackedPredictive(my_model, guide, number, seed=base, input_range=RANGE)(x)
    w2, b2 = (pyro.param(name).detach() for name in ("w2", "b2"))
    logits = torch.tensor([1.0, 2.0, 0.5]) * (samples["h"] @ w2.T) + b2
    surplus = torch.nn.functional.one_hot(samples["y"], 3) - logits.softmax(-1)
    assert_mean(surplus, 0.0, bounds=(-1.0, 1.0), detects=0.06)
    fires = torch.special.ndtr(0.4 * (samples["w1"] @ x.T)[:, 0].mT)
    assert_mean((samples["h"] == 1).double() - fires, 0.0, bounds=(-1.0, 1.0), detects=0.06)


def test_parameters_are_those_of_the_call():
    guide = guide_of(my_model)
    predictive = PackedPredictive(my_model, guide, 50, ("y",), seed=3, input_range=RANGE)
    before = predictive(rows())["y"]
    assert torch.equal(predictive(rows())["y"], before)
    with torch.no_grad():
        pyro.param("b2").copy_(torch.tensor([0.0, 99.0, 0.0]))
    assert bool((predictive(rows())["y"] == 1).all())


def test_a_function_needs_a_range_of_its_inputs():
    words = r"my_model has no architecture\(\) that states the range.*input_range=float\(abs\(x\)"
    with pytest.raises(ValueError, match=words):
        PackedPredictive(my_model, guide_of(my_model), 3)


def with_skip(x):
    w1, w2 = weight("w1", 4, 5), weight("w2", 3, 4)
    skip = torch.ones(3, 5)
    with pyro.plate("data", len(x), dim=-1):
        h = pyro.sample("h", sbn.NoisySign(sbn.affine(x, w1)))
        pyro.sample("y", sbn.AffineCategorical(sbn.affine(h, w2) + sbn.affine(x, skip)))


def with_inputs_of_its_own(x):
    w1, w2 = weight("w1", 4, 5), weight("w2", 3, 4)
    with pyro.plate("data", len(x), dim=-1):
        h = pyro.sample("h", sbn.NoisySign(sbn.affine(x + 1, w1)))
        pyro.sample("y", sbn.AffineCategorical(sbn.affine(h, w2)))


def with_a_square_turned(x):
    w1, w2 = weight("w1", 4, 5), weight("w2", 4, 4)
    with pyro.plate("data", len(x), dim=-1):
        h = pyro.sample("h", sbn.NoisySign(sbn.affine(x, w1)))
        pyro.sample("y", sbn.AffineCategorical(sbn.affine(h, w2.mT)))


def with_bias_of_rows(x):
    w1, w2 = weight("w1", 4, 5), weight("w2", 3, 4)
    with pyro.plate("data", len(x), dim=-1):
        h = pyro.sample("h", sbn.NoisySign(sbn.affine(x, w1, x.mean(0)[:4])))
        pyro.sample("y", sbn.AffineCategorical(sbn.affine(h, w2)))


def with_chance(x):
    w1, w2 = weight("w1", 4, 5), weight("w2", 3, 4)
    with pyro.plate("data", len(x), dim=-1):
        h = pyro.sample("h", sbn.NoisySign(sbn.affine(x, w1, scale=1 + torch.rand(()))))
        pyro.sample("y", sbn.AffineCategorical(sbn.affine(h, w2)))


def with_counts(x):
    w1 = weight("w1", 3, 5)
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("y", sbn.AffineBernoulli(sbn.affine(x, w1)))


def with_no_labels(x):
    w1 = weight("w1", 3, 5)
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("h", sbn.NoisySign(sbn.affine(x, w1)))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (with_skip, r'samples "y", of a pre-activation of kind Sum'),
        (with_inputs_of_its_own, r'samples "h", whose inputs are not those of the layer below'),
        (with_a_square_turned, r'samples "w2", of law SignBernoulli, which is not the weights'),
        (with_bias_of_rows, r'samples "h", with a scale, bias or weights that change'),
        (with_chance, r'samples "h", with a scale, bias or weights that change'),
        (with_no_labels, r'samples "h", after which no class labels come'),
        (with_counts, r'samples "w1, y", and neither NoisySign nor AffineCategorical'),
    ],
)
def test_what_is_no_chain_of_dense_layers_is_refused(model, words):
    predictive = PackedPredictive(model, guide_of(model), 3, input_range=RANGE)
    with pytest.raises(ValueError, match=words + r".*Write pyro\.infer\.Predictive\("):
        predictive(rows())


def test_a_latent_variable_that_is_no_weights_is_refused():
    def with_latent(x):
        b = pyro.sample("b", pyro.distributions.Normal(torch.zeros(3), 1.0).to_event(1))
        w1 = weight("w1", 3, 5)
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("y", sbn.AffineCategorical(sbn.affine(x, w1, b)))

    guide = sbn.guides.AutoHybrid(with_latent, example=(rows(2),))
    words = r'samples "b", of law Independent, which is not the weights of a layer'
    with pytest.raises(ValueError, match=words):
        PackedPredictive(with_latent, guide, 3, input_range=RANGE)(rows())


def test_the_generator_is_left_alone():
    guide = guide_of(my_model)
    predictive = PackedPredictive(my_model, guide, 3, seed=1, input_range=RANGE)
    predictive(rows())  # makes the parameters
    before = torch.get_rng_state()
    predictive(rows())
    assert torch.equal(torch.get_rng_state(), before)


def test_rows_that_are_signs_may_be_asked_for():
    def of_signs(x):
        w1 = weight("w1", 3, 5)
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("y", sbn.AffineCategorical(sbn.affine(sbn.as_signs(x), w1)))

    x = torch.where(rows() > 0, 1.0, -1.0)
    guide = sbn.guides.AutoSignBernoulli(of_signs, example=(x,))
    found = PackedPredictive(of_signs, guide, 3, input_range=1.0)(x)
    assert looks(found) == looks(Predictive(of_signs, guide=guide, num_samples=3)(x))


def test_the_guide_of_another_model_is_refused():
    def real(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("y", sbn.AffineCategorical(sbn.affine(x, torch.ones(3, 5))))

    _, guide = network()
    with pytest.raises(ValueError, match=r"which no layer of model.*the guide was made for"):
        PackedPredictive(real, guide, 3, input_range=RANGE)(rows())
