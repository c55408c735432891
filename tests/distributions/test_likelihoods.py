"""Likelihoods on an affine, against torch's distributions; in plates, with particles."""

import copy
import math
import pickle

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

import bayes_sbn as sbn
from bayes_sbn import AffineBernoulli, AffineCategorical, AffineNormal, affine
from bayes_sbn.affines import Affine
from tests import chance

ROWS, INPUTS, OUTPUTS = 5, 4, 3
SIGMA = torch.tensor([0.4, 1.0, 2.0], dtype=torch.float64)

LAWS = {
    "categorical": AffineCategorical,
    "bernoulli": AffineBernoulli,
    "normal": lambda pre: AffineNormal(pre, SIGMA),
}
TORCH = {
    "categorical": lambda a: torch.distributions.Categorical(logits=a),
    "bernoulli": lambda a: torch.distributions.Independent(
        torch.distributions.Bernoulli(logits=a), 1
    ),
    "normal": lambda a: torch.distributions.Independent(torch.distributions.Normal(a, SIGMA), 1),
}
every_kind = pytest.mark.parametrize("kind", LAWS)


def pre_activation(*batch: int, particles: int | None = None) -> Affine:
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(*batch, INPUTS, generator=generator)
    shape = (OUTPUTS, INPUTS) if particles is None else (particles, 1, OUTPUTS, INPUTS)
    return affine(x, torch.randn(shape, generator=generator), torch.randn(OUTPUTS))


def targets(kind: str, *batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(8)
    if kind == "categorical":
        return torch.randint(OUTPUTS, batch, generator=generator)
    y = torch.randn(*batch, OUTPUTS, generator=generator)
    return y if kind == "normal" else (y > 0).double()


@pytest.mark.parametrize(
    ("pre", "batch"),
    [
        (lambda: pre_activation(), ()),
        (lambda: pre_activation(ROWS), (ROWS,)),
        (lambda: pre_activation(2, ROWS), (2, ROWS)),
        (lambda: pre_activation(ROWS, particles=2), (2, ROWS)),
    ],
)
@every_kind
def test_law_equals_that_of_torch(kind, pre, batch):
    pre = pre()
    law, reference = LAWS[kind](pre), TORCH[kind](pre.tensor)
    assert law.batch_shape == reference.batch_shape == batch
    assert law.event_shape == reference.event_shape
    assert law.event_dim == (0 if kind == "categorical" else 1)
    assert law.support.event_dim == law.event_dim
    y = targets(kind, *batch)
    torch.testing.assert_close(law.log_prob(y), reference.log_prob(y), rtol=1e-12, atol=1e-12)
    assert law.support.check(y).all()
    assert law.sample().shape == reference.sample().shape
    assert law.sample((6, 2)).shape == (6, 2, *reference.sample().shape)
    law.log_prob(law.sample((6,)))
    if kind != "categorical":
        torch.testing.assert_close(law.mean, reference.mean)
    if kind == "normal":
        torch.testing.assert_close(law.variance, reference.variance)
    else:
        logits = pre.tensor
        softened = torch.sigmoid(logits) if kind == "bernoulli" else torch.softmax(logits, -1)
        torch.testing.assert_close(law.probs, softened)


@pytest.mark.parametrize("batch", [(ROWS,), (2, ROWS), (6, 2, ROWS)])
@every_kind
def test_expand_keeps_the_type_and_the_affine(kind, batch):
    law = LAWS[kind](pre_activation(ROWS))
    wide = law.expand(batch)
    assert type(wide) is type(law)
    assert wide.batch_shape == batch
    assert wide.event_shape == law.event_shape
    assert wide.affine.source is law.affine
    y = targets(kind, *batch)
    torch.testing.assert_close(wide.log_prob(y), law.log_prob(y), rtol=1e-13, atol=0)
    assert wide.sample().shape == y.shape
    with pytest.raises(ValueError, match="does not broadcast"):
        law.expand((ROWS + 1,))


@every_kind
def test_draws_have_the_moments_of_the_law(kind):
    law = LAWS[kind](pre_activation(2))
    draws = law.sample((20_000,))
    if kind == "categorical":
        counts = torch.nn.functional.one_hot(draws, OUTPUTS).sum(0)
        chance.assert_count(counts, 20_000, law.probs.detach(), detects=0.06)
    elif kind == "bernoulli":
        chance.assert_count(draws.sum(0), 20_000, law.probs.detach(), detects=0.06)
    else:
        normal = torch.special.ndtr((draws - law.mean) / SIGMA)  # uniform on [0, 1]
        moments = torch.stack([normal, normal.square()], -1)
        chance.assert_mean(moments, [0.5, 1 / 3], bounds=(0.0, 1.0), detects=0.06)


def test_drawing_from_an_expanded_law_does_not_cut_its_gradient():
    for kind in LAWS:
        w = torch.randn(OUTPUTS, INPUTS, requires_grad=True)
        law = LAWS[kind](affine(torch.ones(ROWS, INPUTS), w)).expand((2, ROWS))
        law.log_prob(law.sample()).sum().backward()
        assert w.grad.abs().max() > 0


def test_sigma_is_a_number_or_one_per_output_and_may_be_learned():
    pre, y = pre_activation(ROWS), targets("normal", ROWS)
    for value in (0.7, torch.tensor(0.7), SIGMA):
        law = AffineNormal(pre, value)
        wanted = torch.distributions.Normal(pre.tensor, torch.as_tensor(value)).log_prob(y).sum(-1)
        torch.testing.assert_close(law.log_prob(y), wanted)
        assert law.variance.shape == (ROWS, OUTPUTS)
    sigma = SIGMA.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: AffineNormal(pre, s).log_prob(y), sigma)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan])
def test_sigma_that_is_not_positive_is_refused(sigma):
    with pytest.raises(ValueError, match=r"AffineNormal\(sigma=...\): .* it must be positive"):
        AffineNormal(pre_activation(ROWS), sigma)
    with pyro.validation_enabled(False):
        AffineNormal(pre_activation(ROWS), sigma)


def test_bernoulli_log_prob_keeps_the_last_nats():
    # softplus(a) as torch has it is a itself from 20 on
    pre = affine(torch.ones(1), torch.tensor([[25.0], [25.0], [-40.0]]))
    law = AffineBernoulli(pre)
    found = law.log_prob(torch.tensor([1.0, 1.0, 0.0]))
    wanted = -2 * math.log1p(math.exp(-25)) - math.log1p(math.exp(-40))
    assert found.item() == pytest.approx(wanted, rel=1e-12)


# what is refused -------------------------------------------------------------------------------


@every_kind
def test_law_without_an_affine_is_refused(kind):
    with pytest.raises(
        TypeError, match=r"received a Tensor; .*\(bayes_sbn.affine\(x, weight, bias"
    ):
        LAWS[kind](torch.zeros(ROWS, OUTPUTS))


@pytest.mark.parametrize(("bad", "shown"), [(3, "3"), (-1, "-1"), (0.5, "0.5"), (math.nan, "nan")])
def test_labels_out_of_range_are_refused(bad, shown):
    law = AffineCategorical(pre_activation(ROWS))
    y = torch.zeros(ROWS, dtype=torch.double if isinstance(bad, float) else torch.long)
    assert law.log_prob(y).shape == (ROWS,)
    y[2] = bad
    message = rf"y at \(2,\) is {shown}; labels are integers from 0 to 2.* wider"
    with pytest.raises(ValueError, match=message):
        law.log_prob(y)


def test_signs_and_missing_values_as_targets_are_refused():
    y = torch.ones(ROWS, OUTPUTS)
    y[1, 2] = -1.0
    with pytest.raises(
        ValueError, match=r"y at \(1, 2\) is -1.0; labels are 0 or 1.*\(y \+ 1\) / 2"
    ):
        AffineBernoulli(pre_activation(ROWS)).log_prob(y)
    y[1, 2] = math.nan
    with pytest.raises(ValueError, match=r"y at \(1, 2\) is nan; targets are numbers.*Drop rows"):
        AffineNormal(pre_activation(ROWS), 1.0).log_prob(y)


@pytest.mark.parametrize("bad", [True, 1j, [0, 1]])
@every_kind
def test_targets_of_the_wrong_kind_are_refused(kind, bad):
    law = LAWS[kind](pre_activation(ROWS))
    y = bad if isinstance(bad, list) else torch.full(targets(kind, ROWS).shape, bad)
    with pytest.raises(TypeError, match=r"log_prob\(y\): y is (torch.bool|torch.complex|list)"):
        law.log_prob(y)


def test_targets_of_the_wrong_shape_are_refused():
    pre = pre_activation(ROWS)
    with pytest.raises(ValueError, match=r"shape \(5, 3\), which cannot be broadcast .*\(5,\)"):
        AffineCategorical(pre).log_prob(torch.zeros(ROWS, OUTPUTS))  # one-hot labels
    with pytest.raises(ValueError, match=r"y has shape \(5,\); it must end in the outputs, \(3,\)"):
        AffineBernoulli(pre).log_prob(torch.ones(ROWS))
    with pytest.raises(ValueError, match=r"shape \(4, 3\), which cannot be broadcast"):
        AffineNormal(pre, 1.0).log_prob(torch.ones(4, OUTPUTS))


def test_unchecked_law_scores_without_looking():
    law = AffineBernoulli(pre_activation(ROWS), validate_args=False)
    assert law.log_prob(torch.full((ROWS, OUTPUTS), 0.5)).shape == (ROWS,)


# Pyro ------------------------------------------------------------------------------------------


def test_categorical_enumerates_its_labels():
    law = AffineCategorical(pre_activation(ROWS))
    support = law.enumerate_support()
    assert support.shape == (OUTPUTS, ROWS)
    assert law.enumerate_support(expand=False).shape == (OUTPUTS, 1)
    torch.testing.assert_close(law.log_prob(support).exp().sum(0), torch.ones(ROWS))


@pytest.mark.parametrize("particles", [None, 2])
@every_kind
def test_law_in_a_subsampled_plate_is_scaled_and_of_the_right_shape(kind, particles):
    y = targets(kind, ROWS)
    x = torch.ones(ROWS, INPUTS)

    def model():
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(OUTPUTS, INPUTS)).to_event(2))
        with pyro.plate("data", 100, subsample=x, dim=-1) as rows:
            law = LAWS[kind](affine(rows, w, scale=0.5))
            assert law.batch_shape == ((ROWS,) if particles is None else (particles, ROWS))
            pyro.sample("y", law, obs=y)

    if particles is not None:
        model = pyro.plate("particles", particles, dim=-2)(model)
    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    site = trace.nodes["y"]
    w = trace.nodes["w"]["value"]
    assert w.shape == ((OUTPUTS, INPUTS) if particles is None else (2, 1, OUTPUTS, INPUTS))
    logits = 0.5 * (w @ torch.ones(INPUTS))
    wanted = TORCH[kind](logits).log_prob(y)
    torch.testing.assert_close(site["unscaled_log_prob"], wanted)
    torch.testing.assert_close(site["log_prob"], 100 / ROWS * wanted)


@every_kind
def test_law_that_nobody_observed_is_drawn_per_particle(kind):
    def model():
        with pyro.plate("data", ROWS, dim=-1):
            return pyro.sample("y", LAWS[kind](pre_activation(ROWS)))

    with pyro.plate("particles", 6, dim=-2):
        y = model()
    assert y.shape == (6, *targets(kind, ROWS).shape)
    assert (y != y[:1]).any()  # each particle has a draw of its own


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda law: pickle.loads(pickle.dumps(law))])
@every_kind
def test_law_can_be_copied_and_pickled(kind, duplicate):
    law = LAWS[kind](pre_activation(ROWS))
    y = targets(kind, ROWS)
    assert torch.equal(duplicate(law).log_prob(y), law.log_prob(y))


@every_kind
def test_law_is_a_distribution_of_pyro(kind):
    law = LAWS[kind](pre_activation(ROWS))
    assert isinstance(law, dist.TorchDistribution)
    masked = law.mask(torch.arange(ROWS) > 2)
    assert masked.log_prob(targets(kind, ROWS))[:3].tolist() == [0.0, 0.0, 0.0]
