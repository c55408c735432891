"""Ensembles by the compiled kernels and by the reference: the same bits, and clear refusals."""

import numpy as np
import pytest

from bayes_sbn.kernels import loader
from bayes_sbn.posterior import Posterior
from tests.chance import numpy_generator
from tests.hybrid_posteriors import CASES
from tests.plain_networks import random_posterior
from tests.test_posterior_low_rank import network as low_rank_posterior

NOISE_MODES = ("shared", "independent")

needs_library = pytest.mark.skipif(
    not loader.library_path().exists(), reason="the kernel library is not built"
)


@pytest.fixture(autouse=True)
def _fresh_choice():
    loader._choose.cache_clear()
    yield
    loader._choose.cache_clear()


def rows(number: int = 45) -> np.ndarray:
    return numpy_generator("backends").uniform(-8, 8, size=(number, 5))


@pytest.mark.native
@needs_library
@pytest.mark.parametrize("noise", NOISE_MODES)
def test_compiled_kernels_and_reference_give_the_same_bits(noise):
    mixture = Posterior.mixture([random_posterior(), random_posterior(label="other")], (1, 2))
    for posterior in (random_posterior(), mixture):
        native, reference = (posterior.draw(9, seed=4) for _ in range(2))
        options = {"noise": noise, "row_offset": 29}
        for call in ("predict", "logits", "integer_logits"):
            found = getattr(native, call)(rows(), backend="native", **options)
            wanted = getattr(reference, call)(rows(), backend="reference", **options)
            if call == "predict":
                assert found.attrs == wanted.attrs
                found, wanted = found.probs_per_draw, wanted.probs_per_draw
            assert found.tobytes() == wanted.tobytes()
        assert "weights" not in native.__dict__  # streamed
        assert "weights" in reference.__dict__


@pytest.mark.native
@needs_library
@pytest.mark.parametrize("noise", NOISE_MODES)
def test_weights_that_share_factors_are_given_to_the_kernels(noise):
    mixture = Posterior.mixture([low_rank_posterior(), random_posterior((5, 4, 3), ("uniform",))])
    for posterior in (low_rank_posterior(), mixture):
        options = {"noise": noise, "row_offset": 29}
        found = posterior.draw(6).predict(rows(), backend="native", **options)
        wanted = posterior.draw(6).predict(rows(), backend="reference", **options)
        assert found.probs_per_draw.tobytes() == wanted.probs_per_draw.tobytes()


@pytest.mark.native
@needs_library
def test_auto_streams_where_it_can_and_else_runs_the_reference():
    for posterior, is_streamed in (
        (random_posterior(), True),
        (CASES["ends"], False),
    ):
        ensemble = posterior.draw(3)
        ensemble.predict(rows())
        assert ("weights" not in ensemble.__dict__) == is_streamed


@pytest.mark.native
@needs_library
def test_draws_that_measure_statistics_are_streamed_with_them():
    posterior = random_posterior()
    first = posterior.layers[0]
    first = type(first)(**{**first.__dict__, "normalisation_eps": 1e-5})
    posterior = Posterior([first, *posterior.layers[1:]], posterior.input_scale)
    both = [
        posterior.draw(5, calibrate=rows(30)).predict(rows(), backend=backend).probs_per_draw
        for backend in ("native", "reference")
    ]
    assert both[0].tobytes() == both[1].tobytes()


@pytest.mark.native
@needs_library
@pytest.mark.parametrize("call", ["predict", "logits", "integer_logits"])
def test_what_the_compiled_kernels_lack_is_refused_where_they_are_forced(call, monkeypatch):
    words = rf"{call}\(\): the compiled ensemble kernel is forced.*backend='reference'"
    for posterior in (CASES["ends"], CASES["points"]):
        ensemble = posterior.draw(2)
        with pytest.raises(RuntimeError, match=words):
            getattr(ensemble, call)(rows(), backend="native")
        monkeypatch.setenv("BAYES_SBN_BACKEND", "native")
        loader._choose.cache_clear()
        with pytest.raises(RuntimeError, match=words):
            getattr(ensemble, call)(rows())
        getattr(ensemble, call)(rows(), backend="reference")
        monkeypatch.delenv("BAYES_SBN_BACKEND")


@pytest.mark.parametrize("call", ["predict", "logits", "integer_logits"])
def test_without_the_library_the_reference_runs_and_native_is_refused(call, monkeypatch, tmp_path):
    monkeypatch.setattr(loader, "library_path", lambda: tmp_path / "libbsbn.so")
    loader._choose.cache_clear()
    loader._warn_once.cache_clear()
    ensemble = random_posterior().draw(2)
    words = rf"{call}\(backend='native'\): .*there is no libbsbn.so.*backend='auto'"
    with pytest.raises(RuntimeError, match=words):
        getattr(ensemble, call)(rows(), backend="native")
    with pytest.warns(RuntimeWarning, match="without its compiled kernels"):
        getattr(ensemble, call)(rows())
    assert "weights" in ensemble.__dict__
    monkeypatch.setenv("BAYES_SBN_BACKEND", "reference")
    loader._choose.cache_clear()
    with pytest.raises(RuntimeError, match="BAYES_SBN_BACKEND=reference"):
        getattr(ensemble, call)(rows(), backend="native")


@pytest.mark.native
@needs_library
@pytest.mark.parametrize("noise", NOISE_MODES)
def test_the_bound_on_memory_cuts_the_work_and_not_the_results(noise):
    posterior, x = random_posterior((5, 70, 40, 3)), rows(300)
    whole = posterior.draw(40).predict(x, noise=noise).probs_per_draw
    for max_memory in (130_000, 1 << 18):
        found = posterior.draw(40).predict(x, noise=noise, max_memory=max_memory)
        assert found.probs_per_draw.tobytes() == whole.tobytes()
    with pytest.raises(ValueError, match="max_memory=10"):
        posterior.draw(40).predict(x, noise=noise, max_memory=10)
