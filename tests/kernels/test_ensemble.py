"""Ensembles by the compiled library: the reference's integers, bit for bit, on every path."""

import ctypes
import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest

from bayes_sbn.kernels import loader
from bayes_sbn.kernels.native import ensemble as native
from bayes_sbn.kernels.native.probabilities import ProbabilitiesArguments, probabilities
from bayes_sbn.kernels.reference.network import DenseLayer, Network, Units, softmax64
from bayes_sbn.kernels.reference.sampling import probability_thresholds
from bayes_sbn.philox import fold_stream
from tests.chance import numpy_generator
from tests.kernels.ensemble_cases import (
    DRAWS,
    LAWS,
    by_library,
    by_reference,
    random_case,
    random_layer,
)

pytestmark = pytest.mark.native
VECTORS = Path(__file__).parents[1] / "vectors" / "ensembles.txt"
KEY = fold_stream(11, 3)


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("case", range(40))
def test_random_networks_give_the_references_integers(forced_library, case, is_shared):
    network, inputs, key, first_row = random_case(str(case))
    options = {"key": key, "draws": DRAWS, "is_shared": is_shared, "first_row": first_row}
    found = by_library(forced_library, network, inputs, threads=2, **options)
    assert np.array_equal(found, by_reference(network, inputs, **options))


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("law", LAWS)
def test_laws_have_the_references_bits_where_nothing_is_cheap(forced_library, law, is_shared):
    """Scale and bias of 1e7 cancel: no bound in single precision holds, and F64 decides alone."""
    g = numpy_generator(f"cancel/{law}")
    units, inputs = 4000, 33
    scale = 1e7 * g.choice([-1, 1], units) * g.random(units)
    near = 3 * g.normal(size=units)
    first = DenseLayer(
        0, probability_thresholds(np.ones((units, inputs))), scale, near - scale * inputs, law, 1.3
    )
    last = random_layer(1, units, 2, None, g)
    network = Network((first, last), 1.0)
    # the second row is one step away: deep in the tails
    x = np.ones((2, inputs), np.int16)
    x[1, 0] = -1
    for rows in (x, np.concatenate([x, 3 * x])):  # ±1 in bits, and numbers
        options = {"key": KEY, "draws": DRAWS, "is_shared": is_shared, "first_row": 7}
        found = by_library(forced_library, network, rows, **options)
        wanted = by_reference(network, rows, **options)
        assert np.array_equal(found, wanted)
    assert len(np.unique(wanted[:, 0])) > 4  # the bits of the units are not all the same


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("law", LAWS)
def test_every_number_of_mismatches_is_decided_by_the_reference(forced_library, law, is_shared):
    """Row i has i inputs of -1 and all weights are +1: a bound that is one off is seen."""
    g = numpy_generator(f"every/{law}")
    units, inputs = 3000, 64
    scale = 0.3 * g.normal(size=units)
    bias = 2 * g.normal(size=units)
    certain = probability_thresholds(np.ones((units, inputs)))
    first = DenseLayer(2, certain, scale, bias, law, 1.3)
    network = Network((first, random_layer(3, units, 16, None, g)), 1.0)
    x = np.where(np.arange(inputs) < np.arange(inputs + 1)[:, None], -1, 1).astype(np.int16)
    options = {"key": KEY, "draws": DRAWS[:3], "is_shared": is_shared, "first_row": 0}
    found = by_library(forced_library, network, x, **options)
    assert np.array_equal(found, by_reference(network, x, **options))


@pytest.mark.parametrize("is_shared", [True, False])
def test_units_with_many_inputs(forced_library, is_shared):
    """More weights left open by eight planes than any buffer would have by chance."""
    g = numpy_generator("wide")
    inputs = 16_385
    p = np.full((17, inputs), 0.5)  # zeros in all planes but one
    first = DenseLayer(
        3, probability_thresholds(p), np.full(17, 0.01), np.zeros(17), "gaussian", 1.0
    )
    network = Network((first, random_layer(4, 17, 3, None, g)), 2.0**-12)
    options = {"key": KEY, "draws": DRAWS[:2], "is_shared": is_shared, "first_row": 0}
    for x in (
        g.choice([-1, 1], (3, inputs)).astype(np.int16),
        g.integers(-3000, 3001, (3, inputs)).astype(np.int16),
    ):
        assert native.fits(network, x)
        found = by_library(forced_library, network, x, **options)
        assert np.array_equal(found, by_reference(network, x, **options))
    beyond = np.full((1, 65_540), 32_767, np.int16)
    one = Network((random_layer(0, 65_540, 2, None, g),), 1.0)
    assert not native.fits(one, beyond)
    assert native.fits(one, beyond // 2)


@pytest.mark.parametrize("is_shared", [True, False])
def test_draws_rows_and_threads_are_cut_anywhere(forced_library, is_shared):
    network, _, key, _ = random_case("cut 1")
    g = numpy_generator("cut")
    x = g.integers(-99, 100, (300, network.layers[0].num_inputs)).astype(np.int16)
    draws = np.arange(9)
    options = {"key": key, "is_shared": is_shared}
    whole = by_library(forced_library, network, x, draws=draws, first_row=40, **options)
    for threads in (2, 3, 8, 50):
        found = by_library(
            forced_library, network, x, draws=draws, first_row=40, threads=threads, **options
        )
        assert np.array_equal(found, whole)
    for threads in (4, 5, 8):  # more than draws: rows are shared out, too
        few = by_library(
            forced_library, network, x, draws=draws[3:5], first_row=40, threads=threads, **options
        )
        assert np.array_equal(few, whole[3:5])
    for first, last in ((0, 1), (31, 33), (24, 300), (299, 300)):
        part = by_library(
            forced_library, network, x[first:last], draws=draws, first_row=40 + first, **options
        )
        assert np.array_equal(part, whole[:, first:last])
    picked = by_library(forced_library, network, x, draws=draws[::-4], first_row=40, **options)
    assert np.array_equal(picked, whole[::-4])
    strided = np.repeat(x, 2, axis=0)[::2]
    strided = np.asfortranarray(strided)
    again = by_library(forced_library, network, strided, draws=draws, first_row=40, **options)
    assert np.array_equal(again, whole)


def test_no_rows_and_no_draws(forced_library):
    network, inputs, key, _ = random_case("empty")
    options = {"key": key, "is_shared": True, "first_row": 0}
    classes = network.layers[-1].num_units
    assert by_library(forced_library, network, inputs[:0], draws=DRAWS, **options).shape == (
        len(DRAWS),
        0,
        classes,
    )
    assert by_library(forced_library, network, inputs, draws=DRAWS[:0], **options).shape == (
        0,
        len(inputs),
        classes,
    )


@pytest.mark.parametrize("is_shared", [True, False])
def test_draws_may_have_scales_and_biases_of_their_own(forced_library, is_shared):
    g = numpy_generator("own units")
    network, *_ = golden_case("a")
    network = Network(network.layers[1:], 2.0**-4)
    scale = network.layers[0].scale * g.uniform(0.1, 3, size=(4, 33))  # of the layer's sign
    units = (Units(scale, g.normal(size=(4, 33))), None)
    x = g.integers(-20, 21, (40, 40)).astype(np.int16)
    options = {"key": KEY, "draws": DRAWS, "is_shared": is_shared, "first_row": 3, "units": units}
    found = by_library(forced_library, network, x, **options)
    assert np.array_equal(found, by_reference(network, x, **options))
    assert not np.array_equal(
        found, by_library(forced_library, network, x, **options | {"units": ()})
    )


def golden_rows() -> list[str]:
    """The hashes of four small ensembles, by the reference."""
    rows = []
    for case in ("a", "b"):
        for is_shared in (True, False):
            network, inputs, key, first_row = golden_case(case)
            options = {"key": key, "draws": DRAWS, "is_shared": is_shared, "first_row": first_row}
            dots = by_reference(network, inputs, **options).astype("<i8")
            name = "shared" if is_shared else "independent"
            rows.append(f"{case} {name} {hashlib.sha256(dots.tobytes()).hexdigest()}")
    return rows


def golden_case(label: str):
    """A case that needs no generator of random numbers."""
    sizes = {"a": (70, 40, 33, 5), "b": (9, 100, 3)}[label]
    layers = []
    for site, (inputs, units) in enumerate(itertools.pairwise(sizes)):
        place = np.arange(units * inputs, dtype=np.uint64).reshape(units, inputs)
        thresholds = place * np.uint64(2654435761) % np.uint64(2**32)
        unit = np.arange(units, dtype=np.float64)
        is_last = site + 2 == len(sizes)
        layers.append(
            DenseLayer(
                site,
                thresholds,
                (unit % 7 - 3) / 16,
                (unit % 5 - 2) / 4,
                None if is_last else LAWS[site],
                1.25,
            )
        )
    cells = np.arange(37 * sizes[0]).reshape(37, sizes[0])
    inputs = ((cells * 7919) % 511 - 255).astype(np.int16)
    return Network(tuple(layers), 2.0**-7), inputs, fold_stream(2024, 1), 21


def test_golden_hashes_are_those_of_every_path(forced_library):
    kept = [row for row in VECTORS.read_text().splitlines() if not row.startswith("#")]
    assert golden_rows() == kept
    for row in kept:
        label, name, digest = row.split()
        network, inputs, key, first_row = golden_case(label)
        dots = by_library(
            forced_library,
            network,
            inputs,
            key=key,
            draws=DRAWS,
            is_shared=name == "shared",
            first_row=first_row,
        )
        assert hashlib.sha256(dots.astype("<i8").tobytes()).hexdigest() == digest


def arguments(**changes) -> tuple[native.EnsembleArguments, list[object]]:
    """Arguments of a small call, some of them changed, and what must be kept."""
    network, inputs, key, _ = golden_case("b")
    planes = [native.PlanesOfBlocks.of(layer) for layer in network.layers]
    layers = (native.LayerArguments * len(planes))()
    dots = np.zeros((len(DRAWS), len(inputs), network.layers[-1].num_units), np.int64)
    for index, (layer, own) in enumerate(zip(network.layers, planes, strict=True)):
        options = {
            "hot": own.hot.ctypes.data,
            "cold": own.cold.ctypes.data,
            "scale": layer.scale.ctypes.data,
            "bias": layer.bias.ctypes.data,
            "site": layer.site,
            "units": layer.num_units,
            "inputs": layer.num_inputs,
            "noise_scale": 1.0,
        }
        of_layer = {n[6:]: v for n, v in changes.items() if n.startswith("layer_")}
        layers[index] = native.LayerArguments(**options | (of_layer if index == 0 else {}))
    options = {
        "inputs": inputs.ctypes.data,
        "layers": layers,
        "draws": DRAWS.ctypes.data,
        "dots": dots.ctypes.data,
        "num_layers": len(planes),
        "num_draws": len(DRAWS),
        "rows": len(inputs),
        "key0": key[0],
        "key1": key[1],
        "num_threads": 1,
    }
    own = {n: v for n, v in changes.items() if not n.startswith("layer_")}
    return native.EnsembleArguments(**options | own), [network, inputs, planes, dots]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inputs": None}, "a null pointer for data"),
        ({"dots": None}, "a null pointer for data"),
        ({"draws": None}, "a null pointer for data"),
        ({"layers": ctypes.POINTER(native.LayerArguments)()}, "no layers"),
        ({"num_layers": 0}, "0 layers"),
        ({"num_draws": -1}, "-1 draws"),
        ({"rows": -1}, "-1 rows"),
        ({"first_row": -1}, "rows from -1"),
        ({"first_row": 2**32}, "rows from 4294967296"),
        ({"num_threads": 0}, "0 threads"),
        ({"draws": (ctypes.c_int64 * 4)(0, 1, 2, 2**32)}, "draw 4294967296"),
        ({"draws": (ctypes.c_int64 * 4)(0, 1, -2, 3)}, "draw -2"),
        ({"layer_hot": None}, "null pointer in layer 0"),
        ({"layer_cold": None}, "null pointer in layer 0"),
        ({"layer_bias": None}, "null pointer in layer 0"),
        ({"layer_units": 0}, "0 units"),
        ({"layer_units": 7}, "inputs after 7 units"),
        ({"layer_inputs": 0}, "0 inputs"),
        ({"layer_site": 65_536}, "site 65536"),
        ({"layer_law": 1}, "law 1"),
        ({"layer_law": 6}, "law 6"),
        ({"layer_noise_scale": 0.0}, "of scale 0"),
        ({"layer_noise_scale": float("nan")}, "of scale nan"),
    ],
)
def test_arguments_are_checked_before_memory_is_touched(library, changes, words):
    if isinstance(changes.get("draws"), ctypes.Array):
        changes = {"draws": ctypes.addressof(changes["draws"]), "_keep": changes["draws"]}
    keep = changes.pop("_keep", None)
    struct, kept = arguments(**changes)
    with pytest.raises(RuntimeError, match=f"bsbn_ensemble: .*{words}"):
        library.run("bsbn_ensemble", struct)
    assert not kept[-1].any()
    del keep


def test_memory_that_is_not_there_is_an_error(library, monkeypatch):
    monkeypatch.setattr(loader.NativeLibrary, "run", lambda *_, **__: loader.STATUS_OUT_OF_MEMORY)
    network, inputs, key, _ = random_case("0")
    with pytest.raises(MemoryError):
        by_library(library, network, inputs, key=key, draws=DRAWS, is_shared=True, first_row=0)


def test_probabilities_have_the_references_bits(library):
    """Logits of every size: exponentials that are subnormal or 0, and ties."""
    g = numpy_generator("probabilities")
    for classes in (1, 2, 10, 100):
        for size in (0.0, 1.0, 30.0, 700.0, 745.0, 1e5, 1e300):
            dots = g.integers(-1000, 1001, size=(7, 50, classes))
            scale, bias = size * g.normal(size=classes) / 1000, g.normal(size=classes)
            logits = scale * dots.astype(np.float64) + bias
            for threads in (1, 3):
                found = probabilities(library, dots, scale, bias, threads)
                assert found.tobytes() == softmax64(logits).tobytes()
    none = probabilities(library, dots[:0], scale, bias, 1)
    assert none.shape == (0, 50, 100)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rows": -1}, "-1 rows"),
        ({"classes": 0}, "0 classes"),
        ({"num_threads": 0}, "0 threads"),
        ({"dots": None}, "a null pointer"),
        ({"scale": None}, "a null pointer"),
        ({"probabilities": None}, "a null pointer"),
    ],
)
def test_arguments_of_probabilities_are_checked(library, changes, words):
    numbers = np.zeros(4)
    options = dict.fromkeys(("scale", "bias", "probabilities"), numbers.ctypes.data)
    dots = np.zeros(4, np.int64)
    options |= {"dots": dots.ctypes.data, "rows": 2, "classes": 2, "num_threads": 1}
    with pytest.raises(RuntimeError, match=f"bsbn_probabilities: .*{words}"):
        library.run("bsbn_probabilities", ProbabilitiesArguments(**options | changes))
