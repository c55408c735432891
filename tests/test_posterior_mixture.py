"""Posteriors of several components: each draw is one of a component's own, bit for bit."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch

from bayes_sbn.container import POSTERIOR, read_container, write_container
from bayes_sbn.posterior import Posterior
from bayes_sbn.posterior_components import Component
from bayes_sbn.posterior_layer import PosteriorLayer
from tests import oracles
from tests.chance import assert_mean, numpy_generator, seed
from tests.hybrid_posteriors import CASES
from tests.oracle_networks import Net
from tests.plain_networks import PlainGuide, PlainModel, posterior_of, random_posterior
from tests.problems import two_hidden_layers_sign_head

WEIGHTS = (0.5, 0.2, 0.3)


def restarts(number: int = 3) -> list[Posterior]:
    return [random_posterior(label=f"restart {c}", temperature=0.5) for c in range(number)]


def rows(number: int = 21) -> np.ndarray:
    return numpy_generator("rows").uniform(-3, 3, size=(number, 5))


@pytest.mark.parametrize("noise", ["shared", "independent"])
def test_each_draw_is_the_one_of_its_component(noise):
    parts, x = restarts(), rows()
    ensemble = Posterior.mixture(parts, WEIGHTS).draw(12, seed=7, stream=2)
    assert sorted(set(ensemble.components.tolist())) == [0, 1, 2]
    whole = ensemble.predict(x, noise=noise, row_offset=3).probs_per_draw
    logits = ensemble.logits(x, noise=noise, row_offset=3)
    for draw, component in enumerate(ensemble.components):
        alone = parts[component].draw(12, seed=7, stream=2)[draw]
        found = alone.predict(x, noise=noise, row_offset=3).probs_per_draw
        assert found.tobytes() == whole[draw : draw + 1].tobytes()
        assert alone.logits(x, noise=noise, row_offset=3).tobytes() == logits[draw].tobytes()
        for own, of_all in zip(alone.weights, ensemble.weights, strict=True):
            assert torch.equal(own.data, of_all.data[draw : draw + 1])


def test_slices_blocks_and_order_change_nothing():
    posterior, x = Posterior.mixture(restarts(), WEIGHTS), rows()
    ensemble = posterior.draw(12, seed=1)
    whole = ensemble.predict(x).probs_per_draw
    assert ensemble.memory == 12 * random_posterior().draw(1).memory
    fresh = posterior.draw(20, seed=1)
    assert (fresh[:12].components == ensemble.components).all()
    for index in (slice(3, 9), slice(11, None, -1), slice(0, 12, 5), 4):
        for own in (ensemble, fresh[:12]):
            part = own[index].predict(x).probs_per_draw
            picked = whole[index] if isinstance(index, slice) else whole[index : index + 1]
            assert part.tobytes() == picked.tobytes()
    small = fresh[:12].predict(x, max_memory=30_000).probs_per_draw
    assert small.tobytes() == whole.tobytes()
    each = np.concatenate([one.predict(x).probs_per_draw for one in fresh[:12]])
    assert each.tobytes() == whole.tobytes()


def test_two_times_the_same_is_the_same():
    one, x = random_posterior(), rows()
    twice = Posterior.mixture([one, one])
    assert twice.draw(6).predict(x).probs_per_draw.tobytes() == (
        one.draw(6).predict(x).probs_per_draw.tobytes()
    )
    assert twice.entropy == one.entropy
    alone = Posterior.mixture([one])
    assert alone.digest == random_posterior().digest
    assert alone.layers[0] is one.layers[0]


def test_equal_weights_share_the_draws_out_equally():
    components = Posterior.mixture(restarts()).draw(32).components
    assert sorted(np.bincount(components)) == [10, 11, 11]


def test_weights_are_normalised_and_mixtures_of_mixtures_are_flat():
    first, second, third = restarts()
    inner = Posterior.mixture([first, second], (3, 1))
    outer = Posterior.mixture([inner, third], (1, 1))
    assert [component.weight for component in outer.components] == [0.375, 0.125, 0.5]
    assert outer.temperature == 0.5
    third = dataclasses.replace(third, temperature=1.0)
    assert Posterior.mixture([inner, third]).temperature is None
    assert Posterior.mixture([inner, third], attrs={"restarts": 2}).attrs == {"restarts": 2}
    with pytest.raises(ValueError, match=r"has 2 components.*posterior.components\[0\].layers"):
        inner.layers  # noqa: B018 - the property raises


def small_layers(label: str, units: int = 2) -> tuple[PosteriorLayer, ...]:
    g = numpy_generator(label)
    sizes = ((units, 2, "logistic"), (2, units, None))
    return tuple(
        PosteriorLayer(f"l{i}", i, g.random((out, n)), np.ones(out), np.zeros(out), noise)
        for i, (out, n, noise) in enumerate(sizes)
    )


def test_entropy_is_within_log2_of_the_number_below_that_of_the_mixture():
    """All 2**8 states are enumerated."""
    parts = [Posterior(small_layers(f"entropy {c}"), 1.0) for c in range(3)]
    mixture = Posterior.mixture(parts, WEIGHTS)
    states = np.array(list(itertools.product([0, 1], repeat=8)), bool)
    each = [np.concatenate([la.probabilities.ravel() for la in p.layers]) for p in parts]
    q = sum(w * np.where(states, p, 1 - p).prod(1) for w, p in zip(WEIGHTS, each, strict=True))
    exact = -float((q * np.log2(q)).sum())
    assert mixture.num_weights == 8
    assert mixture.entropy < exact < mixture.entropy + math.log2(3)
    assert mixture.entropy == pytest.approx(
        sum(w * p.entropy for w, p in zip(WEIGHTS, parts, strict=True))
    )


def test_predictions_are_in_the_mean_those_of_the_mixture():
    """Of exact enumeration; stratified draws come in independent pairs."""
    problem = two_hidden_layers_sign_head("logistic", 1.5)
    nets = [problem.net, other(problem.net)]
    x = np.round(problem.x * 64) / 64
    each = [oracles.predictive_mean(net, x) for net in nets]
    expected = 0.8 * each[0] + 0.2 * each[1]
    assert np.abs(each[0] - each[1]).max() > 0.3
    mixture = Posterior.mixture([posterior_of(net, 1 / 64) for net in nets], (0.8, 0.2))
    pred = mixture.draw(30_000, seed=seed("mixed")).predict(x)
    pairs = pred.probs_per_draw.reshape(15_000, 2, *expected.shape).mean(1)
    assert_mean(pairs, expected, bounds=(0.0, 1.0), detects=0.04)
    with pytest.raises(AssertionError, match="a mean of"):
        assert_mean(pairs, (each[0] + each[1]) / 2, bounds=(0.0, 1.0), detects=0.04)


def other(net: Net) -> Net:
    """The network with other biases of its classes."""
    return dataclasses.replace(net, head=dataclasses.replace(net.head, bias=np.array([-1.5, 1.5])))


def test_the_mode_is_that_of_each_component():
    parts, x = restarts(), rows()
    mode = Posterior.mixture(parts).mode()
    assert mode.entropy == 0
    ensemble = mode.draw(6, seed=5)
    whole = ensemble.predict(x).probs_per_draw
    for draw, component in enumerate(ensemble.components):
        alone = parts[component].mode().draw(6, seed=5)[draw].predict(x).probs_per_draw
        assert alone.tobytes() == whole[draw : draw + 1].tobytes()


def test_a_file_keeps_it_and_is_of_version_4(tmp_path):
    posterior = Posterior.mixture(restarts(), WEIGHTS, attrs={"restarts": 3})
    assert posterior.format_version == 4
    assert random_posterior().format_version == 1
    posterior.save(tmp_path / "fit.sbn")
    loaded = Posterior.load(tmp_path / "fit.sbn")
    assert loaded.digest == posterior.digest
    assert [c.weight for c in loaded.components] == list(WEIGHTS)
    assert loaded.attrs == {"restarts": 3}
    x = rows()
    found, saved = (p.draw(5).predict(x).probs_per_draw for p in (loaded, posterior))
    assert found.tobytes() == saved.tobytes()
    loaded.save(tmp_path / "again.sbn")
    assert (tmp_path / "again.sbn").read_bytes() == (tmp_path / "fit.sbn").read_bytes()


def test_the_digest_covers_the_weights_and_the_order():
    parts = restarts()
    found = {
        Posterior.mixture(each, weights).digest
        for each in (parts, parts[::-1])
        for weights in (None, WEIGHTS)
    }
    assert len(found) == 4


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda h, t: h.__setitem__("components", {}), "its components are not a list"),
        (lambda h, t: h.__setitem__("components", []), "fewer than two"),
        (lambda h, t: h["components"].__setitem__(0, 3), "a component is int and not dict"),
        (lambda h, t: h["components"].pop(), "tensors are not those of its layers"),
        (lambda h, t: h["components"][0].pop("weight"), "weight"),
        (lambda h, t: h["components"][0].__setitem__("weight", 1), "weight is int and not float"),
        (lambda h, t: h["components"][0].__setitem__("weight", 0.9), "of sum 1"),
        (lambda h, t: h["components"][0].__setitem__("weight", -0.5), "of sum 1"),
        (lambda h, t: h["components"][1].__setitem__("layers", 3), "its layers are not a list"),
        (lambda h, t: h["components"][1]["layers"].pop(), "tensors are not those of its layers"),
        (lambda h, t: t.pop("2.0.bias"), "tensors are not those of its layers"),
        (lambda h, t: t.__setitem__("3.0.bias", np.zeros(8)), "not those of its layers"),
        (lambda h, t: t.__setitem__("1.0.bias", np.zeros(8)), "not those it was saved with"),
    ],
)
def test_load_refuses_content_that_does_not_fit(change, reason, tmp_path):
    path = tmp_path / "fit.sbn"
    Posterior.mixture(restarts(), WEIGHTS).save(path)
    header, tensors = read_container(POSTERIOR, path)
    change(header, tensors)
    write_container(path, header, tensors, 4)
    with pytest.raises(ValueError, match=f"cannot read the file: .*{reason}"):
        Posterior.load(path)


def test_what_cannot_be_mixed_is_an_error():
    one = random_posterior()
    other = Posterior(small_layers("other", 3), 2.0**-10)
    narrow = dataclasses.replace(one, input_scale=2.0**-12)
    real = CASES["ends"]
    cases = [
        (lambda: Posterior.mixture([]), ValueError, "at least one posterior"),
        (lambda: Posterior.mixture([one, one.draw(2)]), TypeError, "received Ensemble"),
        (lambda: Posterior.mixture([one, other]), ValueError, r"component 1 has layers 2-3 \(±1\)"),
        (lambda: Posterior.mixture([one, narrow]), ValueError, "the same input_range for each"),
        (lambda: Posterior.mixture([one, real]), ValueError, r"5-8 \(real\), .* and kinds"),
        (lambda: Posterior.mixture([one], (1, 2)), ValueError, "they are 1 finite numbers"),
        (lambda: Posterior.mixture([one, one], (1, -1)), ValueError, "not negative"),
        (lambda: Posterior.mixture([one, one], (math.nan, 1)), ValueError, "finite"),
        (lambda: Posterior.mixture([one, one], (0, 0)), ValueError, "is positive"),
        (lambda: Posterior([Component(0.4, one.layers)], 1.0), ValueError, "of sum 1"),
        (lambda: Posterior([one], 1.0), TypeError, r"received Posterior.*mixture\(\[a, b\]\)"),
    ]
    for make, kind, words in cases:
        with pytest.raises(kind, match=words):
            make()


def test_the_table_shows_each_component():
    lines = repr(Posterior.mixture(restarts(), WEIGHTS)).splitlines()
    assert lines[0].startswith("Posterior(categorical, 3 components, 106 ±1 weights of 0.")
    assert [line.strip() for line in lines if "component " in line] == [
        "component 0, weight 0.5",
        "component 1, weight 0.2",
        "component 2, weight 0.3",
    ]


@pytest.mark.parametrize("noise", ["shared", "independent"])
@pytest.mark.parametrize("kind", ["ends", "points", "middle"])
def test_components_may_have_real_layers(kind, noise):
    one = CASES[kind]
    two = dataclasses.replace(
        one,
        components=[
            dataclasses.replace(layer, bias=layer.bias + 0.25)  # another network
            for layer in one.layers
        ],
    )
    mixture, x = Posterior.mixture([one, two]), rows()
    ensemble = mixture.draw(6, seed=3)
    whole = ensemble.predict(x, noise=noise).probs_per_draw
    for draw, component in enumerate(ensemble.components):
        alone = (one, two)[component].draw(6, seed=3)[draw].predict(x, noise=noise)
        assert alone.probs_per_draw.tobytes() == whole[draw : draw + 1].tobytes()
    kept = [w if isinstance(w, np.ndarray) else w.data.numpy() for w in ensemble.weights]
    assert ensemble.memory == sum(array.nbytes for array in kept)
    assert mixture.num_real_weights == one.num_real_weights
    assert mixture.weight_error() == one.weight_error()


def test_components_may_measure_statistics():
    parts = []
    for one in restarts(2):
        first, *rest = one.layers
        first = dataclasses.replace(first, normalisation_eps=1e-5)
        parts.append(dataclasses.replace(one, components=(first, *rest)))
    mixture, x, calibrate = Posterior.mixture(parts), rows(), rows(30)
    ensemble = mixture.draw(7, seed=3, calibrate=calibrate)
    whole = ensemble.predict(x).probs_per_draw
    for draw, component in enumerate(ensemble.components):
        alone = parts[component].draw(7, seed=3, calibrate=calibrate)[draw].predict(x)
        assert alone.probs_per_draw.tobytes() == whole[draw : draw + 1].tobytes()
    with pytest.raises(ValueError, match=r'"layer0".*calibrate=x'):
        mixture.draw(7)
    with pytest.raises(ValueError, match=r"5-8 \(±1, recalibrated\)"):
        Posterior.mixture([restarts(1)[0], parts[0]])


def test_a_plain_mixture_guide_speaks_the_protocol():
    class Mixture(PlainGuide):
        def component_weights(self):
            return [0.25, 0.75]

        def component_probabilities(self):
            return [self.posterior, {n: 1 - p for n, p in self.posterior.items()}]

    posterior = Posterior.from_guide(PlainModel(), Mixture())
    first, second = posterior.components
    assert (first.weight, second.weight) == (0.25, 0.75)
    for one, other in zip(first.layers, second.layers, strict=True):
        np.testing.assert_allclose(one.probabilities, 1 - other.probabilities, atol=2.0**-32)
