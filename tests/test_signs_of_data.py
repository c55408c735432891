"""±1 data that are known to be: checked, and flipped exactly by one matrix product."""

import numpy as np
import pyro
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.affines import MeanSign
from bayes_sbn.estimators import PathSampleAnalytic
from bayes_sbn.noise import get_noise
from bayes_sbn.signs import FlipRule, sign_tag, tag_sign
from tests.oracle_flips import literal_flip_differences
from tests.oracle_noise import cdf


def data(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(2, shape, generator=generator) * 2.0 - 1.0


@pytest.mark.parametrize("noise", ["logistic", "gaussian", "laplace", "uniform"])
def test_weights_on_tagged_data_are_flipped_exactly(noise):
    x, leaf = data(6, 4), data(3, 4).requires_grad_()
    w = tag_sign(leaf * 1.0, "w", FlipRule(real_inputs="series"))
    s, b = torch.tensor([0.4, 0.9, 1.3]), torch.tensor([0.1, -0.3, 0.2])
    pre = sbn.affine(sbn.as_signs(x), w, b, scale=s)
    g = torch.randn(6, 3, generator=torch.Generator().manual_seed(2))
    (g * pre.through(MeanSign(get_noise(noise)))).sum().backward()
    _, literal = literal_flip_differences(
        lambda a: 2 * cdf(noise, a) - 1, leaf.detach().numpy(), x.numpy(), s.numpy(), b.numpy()
    )
    wanted = 0.5 * np.einsum("nj,nji->ji", g.numpy(), literal)
    assert leaf.grad.numpy() == pytest.approx(wanted, abs=1e-12)


def test_tag_is_lost_by_indexing_and_kept_where_the_rows_are_tagged():
    x = sbn.as_signs(data(6, 4))
    assert sign_tag(x) is not None
    assert sign_tag(x[:3]) is None
    assert sign_tag(sbn.as_signs(data(6, 4)[:3])) is not None


def test_the_callers_tensor_is_left_alone():
    x = data(6, 4)
    assert torch.equal(sbn.as_signs(x), x)
    assert sign_tag(x) is None


def first_layer_gradient(x: torch.Tensor, real_inputs: str) -> torch.Tensor:
    torch.manual_seed(0)
    model = sbn.models.BinaryMLP(4, [5], 3, num_data=6)
    guide = sbn.guides.AutoSignBernoulli(model)
    elbo = sbn.TraceEstimator_ELBO(PathSampleAnalytic(real_inputs=real_inputs))
    elbo.loss_and_grads(model, guide, x, torch.tensor([0, 1, 2, 0, 1, 2]))
    return guide.leaf("hidden.0.weight").grad


def test_network_recognises_data_that_are_exactly_signs():
    x = data(6, 4)
    exact = first_layer_gradient(x, "exact")
    assert torch.allclose(first_layer_gradient(x, "series"), exact, atol=1e-13, rtol=0)
    for other in (0.9 * x, torch.cat([x[:5], 0.5 * x[5:]]), torch.cat([x[:5], 0 * x[5:]])):
        difference = first_layer_gradient(other, "series") - first_layer_gradient(other, "exact")
        assert difference.abs().max() > 1e-4


def test_model_with_a_subsampling_plate_tags_its_rows():
    x, y = data(20, 4), torch.zeros(20, dtype=torch.long)
    seen = []

    def model():
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(3, 4)).to_event(2))
        with pyro.plate("data", 20, subsample_size=5) as rows:
            pre = sbn.affine(sbn.as_signs(x[rows]), w, scale=0.5)
            seen.append(pre.inputs.is_sign)
            h = pyro.sample("h", sbn.NoisySign(pre))
            pyro.sample("y", sbn.AffineCategorical(sbn.affine(h, torch.ones(2, 3))), obs=y[rows])

    guide = sbn.guides.AutoSignBernoulli(model, example=())
    sbn.TraceEstimator_ELBO("psa").loss_and_grads(model, guide)
    assert seen
    assert all(seen)
    assert guide.leaf("w").grad is not None


@pytest.mark.parametrize(
    ("x", "kind", "words"),
    [
        ([1.0], TypeError, "as_signs.*x is list; it must be a floating point tensor"),
        (torch.tensor([1, -1]), TypeError, "x is torch.int64.*2 \\* x - 1"),
        (torch.tensor([0.0, 1.0]), ValueError, r"received values in \{0, 1\}. Map them with 2 \*"),
        (torch.tensor([1.0, 0.5]), ValueError, r"received 0.5 at index \(1,\)"),
        (torch.tensor([1.0, float("nan")]), ValueError, "received nan at index"),
    ],
)
def test_other_data_are_errors(x, kind, words):
    with pytest.raises(kind, match=words):
        sbn.as_signs(x)


class Halves(sbn.Estimator):
    """Draws ±½ and says that they are signs."""

    def draw(self, site, uniform):
        return 0.5 * sbn.straight_through(site.fn, uniform)


@pytest.mark.parametrize("flip", [FlipRule(), None])
def test_draws_of_an_estimator_that_are_not_signs_are_refused(flip):
    estimator = Halves()
    estimator.flip = flip
    model = sbn.models.BinaryMLP(4, [5], 3, num_data=6)
    guide = sbn.guides.AutoSignBernoulli(model)
    with pytest.raises(ValueError, match=r'"hidden.0.weight": received the value -?0.5; the s'):
        sbn.TraceEstimator_ELBO(estimator).loss(
            model, guide, data(6, 4), torch.zeros(6, dtype=torch.long)
        )
