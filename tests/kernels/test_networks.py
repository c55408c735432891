"""Draws of a network in one operator: an ensemble's logits, the reference's bits, errors."""

import numpy as np
import pytest
import torch

from bayes_sbn.kernels import PackedLayer, PackedProbabilities, loader, network_logits, pack, unpack
from bayes_sbn.kernels.native import networks as native
from bayes_sbn.kernels.reference import networks as reference
from bayes_sbn.posterior import Posterior
from bayes_sbn.posterior_layer import PosteriorLayer
from tests.chance import numpy_generator
from tests.kernels.ensemble_cases import LAWS

SEED, STREAM = 2**63 + 11, 2**64 - 5
BACKENDS = ["reference", pytest.param("native", marks=pytest.mark.native)]


@pytest.fixture(params=BACKENDS)
def _backend(request, monkeypatch):
    if request.param == "native" and not loader.library_path().exists():
        pytest.skip("the kernel library is not built")
    monkeypatch.setenv("BAYES_SBN_BACKEND", request.param)
    loader._choose.cache_clear()


def make_layers(label: str, sizes, laws) -> list[PosteriorLayer]:
    g = numpy_generator(f"networks/{label}")
    made = []
    for site, law in enumerate((*laws, None)):
        p = g.random((sizes[site + 1], sizes[site]))
        p[g.random(p.shape) < 0.1] = 0.0
        p[g.random(p.shape) < 0.1] = 1.0
        made.append(
            PosteriorLayer(
                f"layer {site}",
                site,
                p,
                scale=g.normal(size=sizes[site + 1]) / sizes[site] ** 0.5,
                bias=g.normal(size=sizes[site + 1]),
                noise=law,
                noise_scale=1.0 if law is None else 0.6,
            )
        )
    return made


def packed(layers, step: float = 1.0) -> list[PackedLayer]:
    return [
        PackedLayer(
            PackedProbabilities.pack(torch.tensor(layer.probabilities)),
            torch.tensor(layer.scale) * (step if layer.site == 0 else 1.0),
            torch.tensor(layer.bias),
            layer.noise,
            layer.noise_scale,
        )
        for layer in layers
    ]


@pytest.mark.usefixtures("_backend")
@pytest.mark.parametrize("row_noise", ["shared", "independent"])
@pytest.mark.parametrize("law", LAWS)
def test_logits_are_those_of_an_ensemble(law, row_noise):
    layers = make_layers(law, (40, 65, 33, 7), (law, "logistic"))
    step = 2.0**-6
    ensemble = Posterior(layers, step).draw(5, seed=SEED, stream=STREAM)
    g = numpy_generator("networks/x")
    options = {"row_noise": row_noise, "seed": SEED, "stream": STREAM, "row_offset": 29}
    for x in (g.integers(-300, 301, (45, 40)), 64 * g.choice([-1, 1], (45, 40))):
        wanted = ensemble.logits(x * step, noise=row_noise, row_offset=29)
        found = network_logits(torch.tensor(x.astype(np.int16)), packed(layers, step), 5, **options)
        assert found.numpy().tobytes() == wanted.tobytes()
    bits = pack(torch.tensor(x / 64))  # the last x are signs
    some = network_logits(bits, packed(layers), [3, 0], **options)
    assert some.numpy().tobytes() == wanted[[3, 0]].tobytes()


@pytest.mark.usefixtures("_backend")
def test_a_batch_of_leading_dimensions_is_its_rows():
    layers = packed(make_layers("batch", (20, 50, 3), ("logistic",)))
    x = torch.from_numpy(numpy_generator("networks/batch").integers(-9, 10, (4, 3, 20))).short()
    options = {"row_noise": "independent", "seed": 5}
    whole = network_logits(x, layers, 3, **options)
    assert whole.shape == (3, 4, 3, 3)
    assert torch.equal(
        whole.reshape(3, 12, 3), network_logits(x.reshape(12, 20), layers, 3, **options)
    )
    assert torch.equal(whole[:, 2:], network_logits(x[2:], layers, 3, row_offset=6, **options))
    assert torch.equal(whole, network_logits(x.mT.contiguous().mT, layers, 3, **options))
    assert network_logits(x[:0], layers, 3).shape == (3, 0, 3, 3)
    assert network_logits(x, layers, 0).shape == (0, 4, 3, 3)


def arguments(label: str, row_noise: str):
    layers = packed(make_layers(label, (33, 100, 17, 5), ("gaussian", "laplace")))
    x = torch.from_numpy(numpy_generator(f"networks/{label}").integers(-99, 100, (70, 33))).short()
    parts = zip(
        *((la.weights.hot, la.weights.cold, la.scale, la.bias) for la in layers), strict=True
    )
    names = [layer.noise or "" for layer in layers]
    units = [layer.weights.units for layer in layers]
    return (
        x,
        *map(list, parts),
        units,
        names,
        [layer.noise_scale for layer in layers],
        [0, 7, 2**32 - 1],
        row_noise == "shared",
        -3,
        4,
        2**32 - 70,
    )


@pytest.mark.parametrize("row_noise", ["shared", "independent"])
@pytest.mark.native
def test_every_instruction_set_and_number_of_threads_has_the_references_bits(
    forced_library, row_noise
):
    given = arguments("isa", row_noise)
    wanted = reference.network_dots(*given)
    for threads in (1, 2, 8):
        assert torch.equal(native.network_dots(forced_library, *given, num_threads=threads), wanted)


@pytest.mark.usefixtures("_backend")
def test_operator_is_registered_as_torch_wants_it():
    given = arguments("opcheck", "independent")
    torch.library.opcheck(torch.ops.bayes_sbn.network_dots.default, given)

    def mean(x):
        return network_logits(x, layers, 4, seed=9, stream=3).softmax(-1).mean(0)

    layers = packed(make_layers("compile", (20, 30, 3), ("logistic",)))
    x = torch.ones(6, 20, dtype=torch.int16)
    assert torch.equal(torch.compile(mean, fullgraph=True, backend="eager")(x), mean(x))


def test_sums_that_leave_32_bits_are_the_references(monkeypatch):
    length = 65_540
    p = PackedProbabilities.pack(torch.ones(2, length))
    x = torch.full((1, length), 32_767, dtype=torch.int16)
    layers = [PackedLayer(p, 1.0, 0.0, noise=None)]
    assert network_logits(x, layers, 1)[0, 0, 0] == length * 32_767
    if loader.library_path().exists():
        monkeypatch.setenv("BAYES_SBN_BACKEND", "native")
        loader._choose.cache_clear()
        with pytest.raises(RuntimeError, match=r"network_logits\(\).*fit in 32 bits"):
            network_logits(x, layers, 1)


def test_errors_say_what_is_allowed():
    p = PackedProbabilities.pack(torch.rand(4, 4))
    hidden, last = PackedLayer(p, 1.0, 0.0), PackedLayer(p, 1.0, 0.0, noise=None)
    x = torch.ones(2, 4, dtype=torch.int16)
    with pytest.raises(ValueError, match=r"PackedLayer\(noise='cauchy'\).*'logistic'.*None"):
        PackedLayer(p, 1.0, 0.0, noise="cauchy")
    with pytest.raises(ValueError, match=r"PackedLayer\(noise_scale=0\.0\).*positive"):
        PackedLayer(p, 1.0, 0.0, noise_scale=0.0)
    with pytest.raises(ValueError, match=r"network_logits\(\) received no layers"):
        network_logits(x, [], 1)
    with pytest.raises(ValueError, match=r"layer 0 of 1 has noise 'logistic'; the last layer"):
        network_logits(x, [hidden], 1)
    with pytest.raises(ValueError, match=r"layer 0 of 2 has noise None"):
        network_logits(x, [last, last], 1)
    other = PackedLayer(PackedProbabilities.pack(torch.rand(2, 5)), 1.0, 0.0, noise=None)
    with pytest.raises(ValueError, match=r"layer 1 has 5 inputs, and layer 0 has 4 values"):
        network_logits(x, [hidden, other], 1)
    with pytest.raises(ValueError, match=r"layer 0 has 4 inputs, and the rows have 3 values"):
        network_logits(x[:, :3], [last], 1)
    with pytest.raises(ValueError, match=r"row_noise='own'.*'shared' or 'independent'"):
        network_logits(x, [last], 1, row_noise="own")
    with pytest.raises(ValueError, match=r"draws=-1\): a number of draws is not negative"):
        network_logits(x, [last], -1)
    with pytest.raises(
        ValueError, match=r"network_logits\(draw=4294967296.*lies in \[0, 2\*\*32\)"
    ):
        network_logits(x, [last], [2**32])
    with pytest.raises(TypeError, match=r"network_logits\(\) received rows of torch.float32"):
        network_logits(x.float(), [last], 1)
    with pytest.raises(ValueError, match=r"network_logits\(\) needs a finite scale"):
        network_logits(x, [PackedLayer(p, float("nan"), 0.0, noise=None)], 1)
    learned = PackedLayer(p, torch.ones(4, requires_grad=True), 0.0, noise=None)
    with pytest.raises(RuntimeError, match=r"network_logits\(\) has no gradient.*detach"):
        network_logits(x, [learned], 1)


def test_signs_and_numbers_of_one_magnitude_agree():
    layers = make_layers("signs", (30, 20, 4), ("uniform",))
    g = numpy_generator("networks/signs")
    signs = pack(torch.from_numpy(g.choice([-1.0, 1.0], (9, 30))))
    numbers = 7 * unpack(signs, torch.int8).to(torch.int16)
    first, second = packed(layers, 7.0), packed(layers)
    found = network_logits(numbers, second, 3, seed=1)
    assert torch.equal(found, network_logits(signs, first, 3, seed=1))
