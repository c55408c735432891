"""SignBernoulli: its one parameter, its log-probability, its shapes, its copies."""

import copy
import itertools
import math
import pickle

import pyro
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn import SignBernoulli
from bayes_sbn.distributions import SignDistribution, signs
from bayes_sbn.signs import FlipRule, tag_sign
from tests import chance

PROBS = torch.tensor([0.1, 0.5, 0.93], dtype=torch.float64)

LAWS = {
    "logits": lambda p: SignBernoulli(logits=torch.logit(p)),
    "probs": lambda p: SignBernoulli(probs=p),
    "mean": lambda p: SignBernoulli(mean=2 * p - 1),
    "natural": lambda p: SignBernoulli.from_natural(torch.logit(p) / 2),
    "euclidean": lambda p: SignBernoulli.from_natural(torch.logit(p) / 2, gradient="euclidean"),
}

every_law = pytest.mark.parametrize("law", LAWS)


def states(number: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product((-1.0, 1.0), repeat=number)))


# the parameter ---------------------------------------------------------------------------------


@every_law
def test_every_parameter_gives_the_same_law(law):
    q = LAWS[law](PROBS)
    assert isinstance(q, SignBernoulli)
    torch.testing.assert_close(q.probs, PROBS)
    torch.testing.assert_close(q.mean, 2 * PROBS - 1)
    torch.testing.assert_close(q.logits, torch.logit(PROBS))
    torch.testing.assert_close(q.natural, torch.logit(PROBS) / 2)
    torch.testing.assert_close(q.variance, 4 * PROBS * (1 - PROBS))
    torch.testing.assert_close(q.half_log_odds(), torch.logit(PROBS) / 2)


def test_parameter_may_be_a_number():
    assert SignBernoulli(probs=0.3).probs.item() == pytest.approx(0.3)
    assert SignBernoulli(mean=0).shape() == ()
    assert SignBernoulli(logits=1).probs.dtype == torch.get_default_dtype()


@pytest.mark.parametrize("given", [{}, {"logits": 0.0, "probs": 0.5}, {"probs": 0.5, "mean": 0.0}])
def test_exactly_one_parameter_is_taken(given):
    message = rf"exactly one of logits=, probs=, mean=, but {len(given)} were given; write"
    with pytest.raises(ValueError, match=message):
        SignBernoulli(**given)


@pytest.mark.parametrize(
    ("name", "bad", "interval"),
    [
        ("probs", -0.1, r"\[0, 1\]"),
        ("probs", 1.1, r"\[0, 1\]"),
        ("mean", -1.5, r"\[-1, 1\]"),
        ("mean", math.nan, r"\[-1, 1\]"),
        ("logits", math.nan, r"\[-inf, inf\]"),
    ],
)
def test_parameter_out_of_range_is_refused(name, bad, interval):
    with pytest.raises(ValueError, match=rf"value at \(1,\) is {bad}; {name} lie in {interval}"):
        SignBernoulli(**{name: torch.tensor([0.5, bad])})


def test_parameter_check_follows_the_switch_of_validation():
    bad = torch.tensor([0.5, 1.5])
    assert SignBernoulli(probs=bad, validate_args=False).shape() == (2,)
    with pyro.validation_enabled(False):
        assert SignBernoulli(probs=bad).shape() == (2,)
        with pytest.raises(ValueError, match="lie in"):
            SignBernoulli(probs=bad, validate_args=True)


def test_integer_parameter_is_refused():
    with pytest.raises(TypeError, match=r"logits are torch.int64.*logits.to\(torch.get_default"):
        SignBernoulli(logits=torch.zeros(3, dtype=torch.long))


def test_unknown_gradient_is_refused():
    with pytest.raises(ValueError, match="gradient='mirror' is not known; it is 'natural' or"):
        SignBernoulli.from_natural(torch.zeros(2), gradient="mirror")


# log_prob --------------------------------------------------------------------------------------


@every_law
def test_log_prob_equals_enumeration(law):
    q = LAWS[law](PROBS).to_event(1)
    for x in states(3):
        wanted = sum(math.log(p if s > 0 else 1 - p) for s, p in zip(x, PROBS, strict=True))
        assert q.log_prob(x).item() == pytest.approx(wanted, rel=1e-13)
    total = q.log_prob(q.enumerate_support()).exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-14)


@every_law
@pytest.mark.parametrize("is_tagged", [True, False])
def test_log_prob_has_the_derivative_of_its_multilinear_extension(law, is_tagged):
    q = LAWS[law](PROBS).to_event(1)
    for state in states(3):
        leaf = state.clone().requires_grad_()
        x = tag_sign(leaf, "w", FlipRule()) if is_tagged else leaf
        value = q.log_prob(x)
        value.backward()
        assert value.item() == q.log_prob(state).item()
        for i in range(3):
            up, down = state.clone(), state.clone()
            up[i], down[i] = 1.0, -1.0
            half = (q.log_prob(up) - q.log_prob(down)) / 2
            assert leaf.grad[i].item() == pytest.approx(half.item(), abs=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["probs", "mean", "logits", "natural"])
def test_log_prob_of_a_certain_law_is_never_nan(name, dtype):
    edges = {"probs": (0.0, 1.0), "mean": (-1.0, 1.0)}.get(name, (-math.inf, math.inf))
    parameter = torch.tensor(edges, dtype=dtype, requires_grad=True)

    def law():
        if name == "natural":
            return SignBernoulli.from_natural(parameter)
        return SignBernoulli(**{name: parameter})

    right = torch.tensor([-1.0, 1.0], dtype=dtype)
    assert law().log_prob(right).tolist() == [0.0, 0.0]
    assert law().log_prob(-right).tolist() == [-math.inf, -math.inf]
    for x in (right.clone(), -right):
        parameter.grad = None
        law().log_prob(x.requires_grad_()).sum().backward()
        limit = -0.5 * math.log(torch.finfo(dtype).tiny)  # of log 0, the smallest normal number
        torch.testing.assert_close(x.grad, limit * right)
        assert parameter.grad.isfinite().all()
    assert torch.equal(law().draw(torch.tensor([0.0, 1.0 - 1e-7], dtype=dtype)), right)


@pytest.mark.parametrize("lam", [50.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_prob_far_out_is_the_parameter(lam, dtype):
    leaf = torch.tensor(lam, dtype=dtype, requires_grad=True)
    q = SignBernoulli.from_natural(leaf)
    x = torch.tensor(-1.0, dtype=dtype, requires_grad=True)
    value = q.log_prob(x)
    value.backward()
    assert value.item() == pytest.approx(-2 * lam, rel=1e-6)
    assert x.grad.item() == pytest.approx(lam, rel=1e-6)  # and not the log of the smallest number
    assert leaf.grad.isfinite()


@every_law
def test_integer_states_are_scored(law):
    x = torch.tensor([1, -1, 1])
    q = LAWS[law](PROBS.clone().requires_grad_())
    assert torch.equal(q.log_prob(x), q.log_prob(x.double()))


def test_states_that_are_not_signs_are_refused():
    q = SignBernoulli(logits=torch.zeros(3))
    with pytest.raises(ValueError, match=r"received values in \{0, 1\}.*Map them with 2 \* x - 1"):
        q.log_prob(torch.tensor([0.0, 1.0, 1.0]))
    with pytest.raises(ValueError, match=r"received the value 0.5; .*torch.where\(x > 0, 1.0, -1"):
        q.log_prob(torch.tensor([1.0, 0.5, 1.0]))
    unchecked = SignBernoulli(logits=torch.zeros(3), validate_args=False)
    assert unchecked.log_prob(torch.zeros(3)).shape == (3,)


def test_states_of_another_shape_are_refused():
    q = SignBernoulli(logits=torch.zeros(4, 3)).to_event(1)
    with pytest.raises(ValueError, match=r"shape \(4,\); it must end in the event shape \(3,\)"):
        q.log_prob(torch.ones(4))
    with pytest.raises(ValueError, match=r"shape \(5, 3\), which cannot be broadcast to .*\(4,\)"):
        q.log_prob(torch.ones(5, 3))
    assert q.log_prob(torch.ones(7, 1, 3)).shape == (7, 4)


# shapes and copies -----------------------------------------------------------------------------


@every_law
def test_expand_and_to_event_stay_sign_bernoulli(law):
    q = LAWS[law](PROBS)
    chain = q.expand([2, 3]).to_event(1).expand([5, 2]).to_event(1)
    assert type(chain) is SignBernoulli
    assert (chain.batch_shape, chain.event_shape) == ((5,), (2, 3))
    assert chain.support.event_dim == chain.event_dim == 2
    assert torch.equal(chain.mean, q.mean.expand(5, 2, 3))
    assert torch.equal(chain.probs, q.probs.expand(5, 2, 3))
    x = torch.ones(5, 2, 3)
    torch.testing.assert_close(chain.log_prob(x), q.log_prob(x).sum((-1, -2)))
    assert chain.sample().shape == (5, 2, 3)
    assert chain.sample((7,)).shape == (7, 5, 2, 3)
    assert q.to_event().event_shape == (3,)
    assert chain.parameter.shape == (3,)


@pytest.mark.parametrize("batch", [(2,), (1,), (3, 1)])
def test_expand_to_what_does_not_fit_is_refused(batch):
    with pytest.raises(ValueError, match=r"batch shape \(3,\), which does not broadcast to it"):
        SignBernoulli(probs=PROBS).expand(batch)


@pytest.mark.parametrize("number", [-1, 3])
def test_to_event_of_too_many_dims_is_refused(number):
    q = SignBernoulli(logits=torch.zeros(2, 3))
    with pytest.raises(ValueError, match="at most 2 dims can become event dims"):
        q.to_event(number)


@pytest.mark.parametrize("expand", [True, False])
def test_enumerate_support_lists_all_joint_states(expand):
    q = SignBernoulli(logits=torch.zeros(4, 2, 3)).to_event(2)
    support = q.enumerate_support(expand=expand)
    assert support.shape == (64, 4 if expand else 1, 2, 3)
    assert len({tuple(s) for s in support[:, 0].reshape(64, 6).tolist()}) == 64
    assert signs.check(support).all()
    alone = SignBernoulli(probs=PROBS).enumerate_support()
    assert alone.tolist() == [[-1.0] * 3, [1.0] * 3]


def test_enumerate_support_is_capped_at_sixteen_variables():
    law = SignBernoulli(logits=torch.zeros(17)).to_event(1)
    with pytest.raises(ValueError, match=r"17 variables, 2\^17 joint states; at most 16.*'psa'"):
        law.enumerate_support()
    assert SignBernoulli(logits=torch.zeros(16)).to_event(1).enumerate_support().shape[0] == 2**16


class _Rule:
    def __call__(self, fn: SignDistribution, uniform: torch.Tensor | None = None) -> torch.Tensor:
        fn.has_rsample = True
        return fn.mean + 0.0


def test_rule_is_on_a_copy_and_never_on_the_shared_prior():
    prior = SignBernoulli(probs=PROBS)
    ruled = prior.with_rule(_Rule()).expand([2, 3]).to_event(1)
    assert torch.equal(ruled.sample(), ruled.mean)
    assert torch.equal(ruled.rsample(), ruled.mean)
    assert ruled.has_rsample
    assert ruled.expand([4, 2]).has_rsample
    assert ruled.expand([4, 2]).rule is ruled.rule
    assert prior.rule is None
    assert not prior.has_rsample
    assert signs.check(prior.sample()).all()
    assert signs.check(ruled.sample((5,))).all()  # several draws are drawn plainly


def test_rsample_without_an_estimator_is_refused():
    with pytest.raises(TypeError, match=r"SignBernoulli.rsample: .*TraceEstimator_ELBO\(.psa.\)"):
        SignBernoulli(probs=PROBS).rsample()
    ruled = SignBernoulli(probs=PROBS).with_rule(_Rule())
    ruled.sample()
    with pytest.raises(ValueError, match=r"rsample\(\(2,\)\): a site is drawn once"):
        ruled.rsample((2,))


def test_draws_have_the_frequencies_of_the_law():
    for law in LAWS:
        with torch.no_grad():
            draws = LAWS[law](PROBS).sample((20_000,))
        chance.assert_count((draws > 0).sum(0), 20_000, PROBS, detects=0.05)


def test_draw_is_plus_one_below_the_probability():
    uniform = torch.tensor([0.1 - 1e-12, 0.5, 0.93])
    assert SignBernoulli(probs=PROBS).draw(uniform).tolist() == [1.0, -1.0, -1.0]
    edge = SignBernoulli(probs=torch.tensor([0.0, 1.0]))
    assert edge.draw(torch.tensor([0.0, 1 - 2**-53])).tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("law", ["logits", "probs", "mean", "natural", "euclidean"])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda q: pickle.loads(pickle.dumps(q))])
def test_law_can_be_copied_and_pickled(law, duplicate):
    q = LAWS[law](PROBS).to_event(1)
    twin = duplicate(q)
    x = torch.tensor([1.0, -1.0, 1.0])
    assert torch.equal(twin.log_prob(x), q.log_prob(x))
    assert (twin.batch_shape, twin.event_shape) == (q.batch_shape, q.event_shape)


def test_names_are_those_of_the_package():
    assert sbn.SignBernoulli is SignBernoulli
