"""``Ensemble.predict(backend="cuda")`` and its kin: the reference's bits, bounds and refusals."""

import numpy as np
import pytest
import torch

from bayes_sbn.kernels import streams
from bayes_sbn.posterior import Posterior
from tests.chance import numpy_generator
from tests.hybrid_posteriors import CASES
from tests.kernels.cuda.emulated import EmulatedDevice
from tests.plain_networks import random_posterior
from tests.test_posterior_low_rank import network as low_rank_posterior

CALLS = ("predict", "predict_moments", "logits", "integer_logits")
NOISE_MODES = ("shared", "independent")


def rows(number: int = 45) -> np.ndarray:
    return numpy_generator("cuda/predict").uniform(-8, 8, size=(number, 5))


@pytest.fixture
def any_device(device, monkeypatch):
    """The emulated device in the place of torch's current one, or that one."""
    monkeypatch.setattr(streams, "current_device", lambda call: device)
    return device


def bits(found) -> bytes:
    """What a call returned, as bytes."""
    if isinstance(found, np.ndarray):
        return found.tobytes()
    parts = vars(found).get("probs_per_draw", None)
    if parts is not None:
        return parts.tobytes()
    return b"".join(np.asarray(getattr(found, name)).tobytes() for name in ("mean", "epistemic"))


@pytest.mark.parametrize("noise", NOISE_MODES)
@pytest.mark.parametrize("call", CALLS)
def test_cuda_and_reference_give_the_same_bits(any_device, call, noise):
    mixture = Posterior.mixture([random_posterior(), random_posterior(label="other")], (1, 2))
    for posterior in (random_posterior(), mixture, low_rank_posterior()):
        options = {"noise": noise, "row_offset": 29}
        ensemble = posterior.draw(9, seed=4)
        found = getattr(ensemble, call)(rows(), backend="cuda", **options)
        wanted = getattr(posterior.draw(9, seed=4), call)(rows(), backend="reference", **options)
        assert bits(found) == bits(wanted)


@pytest.mark.parametrize(
    ("posterior", "is_streamed"), [(random_posterior, True), (low_rank_posterior, False)]
)
def test_independent_weights_are_drawn_where_they_are_used(any_device, posterior, is_streamed):
    ensemble = posterior().draw(3)
    ensemble.predict(rows(), backend="cuda")
    assert ("weights" not in ensemble.__dict__) == is_streamed


def test_draws_that_measure_statistics(any_device):
    posterior = random_posterior()
    first = posterior.layers[0]
    first = type(first)(**{**first.__dict__, "normalisation_eps": 1e-5})
    posterior = Posterior([first, *posterior.layers[1:]], posterior.input_scale)
    both = [
        posterior.draw(5, calibrate=rows(30)).predict(rows(), backend=backend).probs_per_draw
        for backend in ("cuda", "reference")
    ]
    assert both[0].tobytes() == both[1].tobytes()


@pytest.mark.parametrize("noise", NOISE_MODES)
def test_the_bound_on_memory_cuts_the_work_and_not_the_results(emulator, monkeypatch, noise):
    posterior, x = random_posterior((5, 70, 40, 3)), rows(150)
    whole = posterior.draw(12).predict(x, noise=noise, backend="reference").probs_per_draw
    number = {}
    for max_memory in (1 << 17, 1 << 18, 1 << 30):
        device = EmulatedDevice(emulator)
        monkeypatch.setattr(streams, "current_device", lambda call, device=device: device)
        found = posterior.draw(12).predict(x, noise=noise, max_memory=max_memory, backend="cuda")
        assert found.probs_per_draw.tobytes() == whole.tobytes()
        number[max_memory] = sum(name == "bsbn_last_layer" for name, _ in device.launches)
    assert number[1 << 17] > number[1 << 18] > number[1 << 30] == 1


def test_memory_of_a_call_is_within_the_bound(emulator):
    network = random_posterior((500, 300, 3), ("logistic",)).draw(2).mixture.networks[0]
    stream = streams.CudaStream(EmulatedDevice(emulator), network)
    for max_memory in (100_000, 1 << 20, 1 << 25):
        draws, n = stream.block_size(10_000, max_memory)
        activations = 4 * 16 * n * draws  # 300 units in two chunks
        inputs = (2 * 500 + 16 * 4 * 16) * n
        dots = (8 + 24) * 3 * n * draws
        assert activations + inputs + dots + 8 * 300 * draws <= max_memory
        assert draws * n > 1


@pytest.mark.parametrize("call", CALLS)
def test_layers_that_the_kernels_lack_are_refused(any_device, call):
    words = rf"{call}\(backend='cuda'\): the CUDA kernels are for layers of ±1 weights.*'auto'"
    with pytest.raises(RuntimeError, match=words):
        getattr(CASES["points"].draw(2), call)(rows(), backend="cuda")


@pytest.mark.parametrize("forced", ["native", "reference"])
def test_a_backend_that_the_environment_forces_is_kept(any_device, monkeypatch, forced):
    monkeypatch.setenv("BAYES_SBN_BACKEND", forced)
    with pytest.raises(RuntimeError, match=rf"BAYES_SBN_BACKEND={forced} keeps.*Unset it"):
        random_posterior().draw(2).predict(rows(), backend="cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("call", CALLS)
def test_without_a_device_cuda_is_refused(call):
    words = rf"{call}\(backend='cuda'\): torch .* finds no CUDA device.*backend='auto'"
    with pytest.raises(RuntimeError, match=words):
        getattr(random_posterior().draw(2), call)(rows(), backend="cuda")


def test_auto_stays_on_the_cpu(emulator, monkeypatch):
    device = EmulatedDevice(emulator)
    monkeypatch.setattr(streams, "current_device", lambda call: device)
    random_posterior().draw(2).predict(rows())
    assert not device.launches
