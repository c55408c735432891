"""The Rao-Blackwellised head: the same expectations and lower layers, and less variance.

The definition is written out here by literal flips: with ``P_i`` the probability of the drawn state
of bit i of the last layer, ``1/n sum_i [P_i f(x) + (1 - P_i) f(x with x_i negated)]``.  All tests
use that one definition, hence one file of more than the usual length.
"""

import functools

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.affines import redraw
from bayes_sbn.estimators import PathSampleAnalytic
from bayes_sbn.signs import FlipRule, Redraw, tag_sign
from tests import problems
from tests.distributions.test_flip_likelihood import UserHead
from tests.estimators.test_exact_expectation import NOISES, PSA_IS_UNBIASED, SIZES, network, wanted
from tests.oracle_estimators import expected_psa_gradient
from tests.oracle_noise import cdf
from tests.oracles import elbo as oracle_elbo
from tests.oracles import exact_gradient
from tests.pyro_networks import PyroNetwork, all_paths, assert_same_gradient, expected_gradient

PLAIN = PathSampleAnalytic(real_inputs="exact")
AVERAGED = PathSampleAnalytic(real_inputs="exact", rao_blackwell=True)
HEADS = {"built-in": PyroNetwork, "user": UserHead}


def make(kind, name, noise="logistic", num_data=None):
    scale = {"uniform": 2.5, "triangular": 3.0}.get(noise, 1.0)
    return HEADS[kind](getattr(problems, name)(noise, scale, num_data=num_data or SIZES[name]))


def lean(estimator, **options):
    return functools.partial(sbn.TraceEstimator_ELBO, estimator, **options)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("name", PSA_IS_UNBIASED)
def test_expectation_is_the_exact_gradient_and_the_exact_value(kind, name):
    net = make(kind, name)
    problem = net.problem
    loss, found = expected_gradient(net, lean(AVERAGED))
    assert_same_gradient(found, wanted(net, exact_gradient(problem.net, problem.x, problem.y)))
    assert loss == pytest.approx(-oracle_elbo(problem.net, problem.x, problem.y), abs=1e-10)


@pytest.mark.parametrize("noise", NOISES)
def test_expectation_is_exact_for_every_noise(noise):
    net = make("built-in", "one_hidden_layer_real_weights", noise)
    problem = net.problem
    _, found = expected_gradient(net, lean(AVERAGED))
    assert_same_gradient(found, wanted(net, exact_gradient(problem.net, problem.x, problem.y)))


@pytest.mark.parametrize("kind", HEADS)
def test_bias_of_lower_layers_in_depth_stays_that_of_psa(kind):
    net = make(kind, "two_hidden_layers")
    problem = net.problem
    loss, found = expected_gradient(net, lean(AVERAGED))
    definition = expected_psa_gradient(problem.net, problem.x, problem.y)
    assert_same_gradient(found, wanted(net, definition))
    assert loss == pytest.approx(-oracle_elbo(problem.net, problem.x, problem.y), abs=1e-10)


def test_lower_sites_may_be_scored():
    infer = {"layers.0": {"estimator": "score"}, "layers.0.weight": {"estimator": "score"}}
    net = network("two_hidden_layers", infer=infer)
    problem = net.problem
    _, found = expected_gradient(net, lean(AVERAGED))
    assert_same_gradient(found, wanted(net, exact_gradient(problem.net, problem.x, problem.y)))


def log_likelihood(net, logits, y, sigma):
    if net.likelihood == "categorical":
        return torch.log_softmax(logits, -1)[int(y)]
    y = torch.as_tensor(y)
    if net.likelihood == "bernoulli":
        return (y * logits - torch.nn.functional.softplus(logits)).sum()
    return torch.distributions.Normal(logits, sigma).log_prob(y).sum()


def definition(problem, path):
    """The negative averaged log-likelihood of one path, and its gradient in the head."""
    net = problem.net
    leaves = {
        key: torch.tensor(value, requires_grad=True)
        for key, value in net.parameters.items()
        if key.startswith(("head.", "sigma")) and not key.endswith("weight_mean")
    }
    weight = path["head.weight"] if net.head.is_random else leaves["head.weight"]
    name, layer = net.maps[-2]
    total = torch.zeros(())
    for n, x in enumerate(problem.x):
        before = torch.tensor(x) if len(net.layers) == 1 else path[net.maps[-3][0]][n]
        inner = path[f"{name}.weight"] if layer.is_random else torch.tensor(layer.weight)
        a = torch.tensor(layer.scale) * (inner @ before) + torch.tensor(layer.bias)
        z = path[name][n]
        chance = torch.tensor(cdf(net.noise, (z * a).numpy(), net.noise_scale))

        def f(state, y=problem.y[n]):
            logits = leaves["head.scale"] * (weight @ state) + leaves["head.bias"]
            return log_likelihood(net, logits, y, leaves.get("sigma"))

        for i in range(len(z)):
            flipped = z.clone()
            flipped[i] = -flipped[i]
            total = total - (chance[i] * f(z) + (1 - chance[i]) * f(flipped)) / len(z)
    total.backward()
    return float(total.detach()), {key: leaf.grad.numpy() for key, leaf in leaves.items()}


def one_path(net, estimator, path):
    elbo = sbn.TraceEstimator_ELBO(estimator, weight_kl=False)
    with sbn.force_draws(path):
        loss = elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    return loss, net.gradients()


def some_paths(net, number=7):
    values, probability = all_paths(net)
    for k in np.linspace(0, len(probability) - 1, number).astype(int):
        yield {name: value[k] for name, value in values.items()}


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("name", SIZES)
def test_value_and_head_gradient_of_a_path_are_those_of_the_definition(kind, name):
    net = make(kind, name)
    for path in some_paths(net):
        loss, found = one_path(net, AVERAGED, path)
        value, gradient = definition(net.problem, path)
        assert loss == pytest.approx(value, abs=1e-12)
        assert_same_gradient({key: found[key] for key in gradient}, gradient, 1e-12)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("name", SIZES)
def test_gradients_of_lower_layers_are_those_without_it(kind, name):
    net = make(kind, name)
    changed = 0
    for path in some_paths(net):
        _, plain = one_path(net, PLAIN, path)
        _, averaged = one_path(net, AVERAGED, path)
        head = {k for k in plain if k.startswith(("head.", "sigma"))}
        if kind == "built-in":  # a user's head averages the flips of its own ±1 weights too
            head.discard("head.weight_mean")
        changed += max(np.abs(plain[k] - averaged[k]).max() for k in head) > 1e-3
        lower = set(plain) - head
        assert_same_gradient({k: averaged[k] for k in lower}, {k: plain[k] for k in lower}, 1e-12)
    assert changed


# Over all paths of one datum: the variance of the head's gradient, summed over its entries, and of
# the value, without averaging and with it.
RECORDED_VARIANCE = {
    "one_hidden_layer_real_weights": (
        6.2272746394454455,
        2.4352346469716735,
        2.4765100719586433,
        1.042506942984838,
    ),
    "two_hidden_layers_real_weights": (
        8.324338222867226,
        2.3740373461010584,
        4.278623160331211,
        1.3687741172906533,
    ),
}


def variances(name, estimator):
    net = make("built-in", name, num_data=1)
    values, probability = all_paths(net)
    found = []
    for k in range(len(probability)):
        loss, gradient = one_path(net, estimator, {n: v[k] for n, v in values.items()})
        head = [gradient[key].ravel() for key in sorted(gradient) if key.startswith("head.")]
        found.append(np.concatenate([[loss], *head]))
    table, p = np.array(found), probability.numpy()[:, None]
    variance = (p * (table - (p * table).sum(0)) ** 2).sum(0)
    return float(variance[1:].sum()), float(variance[0])


@pytest.mark.parametrize(
    "name", ["one_hidden_layer_real_weights", "two_hidden_layers_real_weights"]
)
def test_variance_is_the_recorded_one_and_lower(name):
    plain, averaged = variances(name, PLAIN), variances(name, AVERAGED)
    assert averaged[0] < plain[0]
    assert averaged[1] < plain[1]
    assert (*plain, *averaged) == pytest.approx(RECORDED_VARIANCE[name], rel=1e-9)


@pytest.mark.parametrize("kind", HEADS)
def test_value_without_gradients_is_the_same(kind):
    net = make(kind, "bernoulli_head")
    path = next(some_paths(net))
    loss, _ = one_path(net, AVERAGED, path)
    with sbn.force_draws(path):
        elbo = sbn.TraceEstimator_ELBO(AVERAGED, weight_kl=False)
        assert elbo.loss(net.model, net.guide, net.x, net.y) == pytest.approx(loss, abs=1e-12)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("name", ["two_hidden_layers", "normal_head"])
def test_vectorised_particles_are_the_mean_of_single_ones(kind, name):
    net = make(kind, name)
    values, probability = all_paths(net)
    chosen = torch.linspace(0, len(probability) - 1, 5).long()
    elbo = lean(AVERAGED, num_particles=5, vectorize_particles=True, max_plate_nesting=1)()
    with sbn.force_draws({n: v[chosen] for n, v in values.items()}):
        elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    together = net.gradients()
    for k in chosen:
        with sbn.force_draws({n: v[k] for n, v in values.items()}):
            lean(AVERAGED)().loss_and_grads(net.model, net.guide, net.x, net.y)
    assert_same_gradient(together, {k: g / 5 for k, g in net.gradients().items()}, 1e-12)


LAWS = {
    "categorical": sbn.AffineCategorical,
    "bernoulli": sbn.AffineBernoulli,
    "normal": lambda pre: sbn.AffineNormal(pre, torch.tensor([0.5, 1.0, 2.0])),
}
SHAPES = {
    "vector": ((5,), (3, 5)),
    "rows": ((4, 5), (3, 5)),
    "particles": ((2, 4, 5), (3, 5)),
    "particles of weights": ((2, 4, 5), (2, 1, 3, 5)),
}


def drawn(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    states = torch.randint(2, shape, generator=generator) * 2.0 - 1.0
    probs = torch.rand(shape, generator=generator)
    rule = FlipRule(rao_blackwell=True, redraw=Redraw(states, lambda: probs))
    return states, probs, tag_sign(states.clone().requires_grad_(), "h", rule)


@pytest.mark.parametrize("size", [1.0, 30.0])
@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", LAWS)
def test_heads_of_every_shape_average_over_literal_flips(kind, shape, signs, size):
    """Also steps too large for exponentials (size 30), and ±1 weights, whose identity is used."""
    states, probs, h = drawn(SHAPES[shape][0])
    generator = torch.Generator().manual_seed(1)
    matrix = size * torch.randn(SHAPES[shape][1], generator=generator)
    leaves = [0.2 + torch.rand(3, generator=generator), torch.randn(3, generator=generator)]
    if signs:
        matrix = torch.where(matrix < 0, -1.0, 1.0)
        leaves[0] = size * leaves[0]
    else:
        leaves.append(matrix)
    for leaf in leaves:
        leaf.requires_grad_()
    batch = states.shape[:-1]
    y = {
        "categorical": torch.randint(3, batch, generator=generator),
        "bernoulli": torch.randint(2, (*batch, 3), generator=generator).double(),
        "normal": torch.randn(*batch, 3, generator=generator),
    }[kind]

    def log_p(x):
        weight = sbn.as_signs(matrix) if signs else matrix
        return LAWS[kind](sbn.affine(x, weight, leaves[1], scale=leaves[0])).log_prob(y)

    g = torch.randn(batch, generator=generator)
    found = log_p(h)
    gradient = torch.autograd.grad((g * found).sum(), leaves)
    up = torch.where(states > 0, probs, 1 - probs)
    literal = torch.zeros(batch)
    for i in range(5):
        flipped = states.clone()
        flipped[..., i] *= -1
        literal = literal + up[..., i] * log_p(states) + (1 - up[..., i]) * log_p(flipped)
    literal = literal / 5
    assert torch.allclose(found, literal, atol=1e-12, rtol=1e-12)
    for a, b in zip(gradient, torch.autograd.grad((g * literal).sum(), leaves), strict=True):
        assert torch.allclose(a, b, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("kind", LAWS)
def test_chunks_do_not_matter(kind, monkeypatch):
    w = torch.randn(3, 5, requires_grad=True)
    y = {"categorical": torch.tensor([0, 1, 2, 0])}.get(kind, torch.ones(4, 3))
    results = []
    for entries in (1, 24, 1 << 22):
        monkeypatch.setattr(redraw, "ENTRIES_PER_BLOCK", entries)
        monkeypatch.setattr(redraw, "LARGEST_STEP", -1.0)
        value = LAWS[kind](sbn.affine(drawn((4, 5))[2], w)).log_prob(y)
        results.append((value, *torch.autograd.grad(value.sum(), w)))
    for value, gradient in results[1:]:
        assert torch.allclose(value, results[0][0], atol=1e-13)
        assert torch.allclose(gradient, results[0][1], atol=1e-13)


def test_user_heads_keep_no_graph_of_their_flips():
    """Each chunk is evaluated once more in the backward pass, and h, its flips once forward."""
    seen = []
    w = torch.randn(5, requires_grad=True)

    def f(states):
        seen.append(states.dim())
        return torch.tanh(states @ w)

    value = sbn.exact_flips(f, drawn((4, 5))[2], chunk_entries=40)
    assert seen == [2, 3, 3, 3]
    value.sum().backward()
    assert seen == [2] + 3 * [3] + 3 * [3]


def test_units_of_convolutions_are_redrawn_where_they_stand():
    states, _, h = drawn((3, 2, 2, 2))
    v = torch.randn(1, 8, requires_grad=True)
    y = torch.tensor([[1.0], [0.0], [1.0]])
    flat = sbn.AffineBernoulli(sbn.affine(sbn.flatten(h, 3), v)).log_prob(y)
    own = sbn.FlipLikelihood(
        lambda s: dist.Bernoulli(logits=s.flatten(-3) @ v.mT).to_event(1), h, event_dim=3
    ).log_prob(y)
    moved = sbn.flatten(sbn.permute(h, (2, 0, 1)), 3)
    columns = v.reshape(2, 2, 2).permute(2, 0, 1).reshape(1, 8)
    by_moved = sbn.AffineBernoulli(sbn.affine(moved, columns)).log_prob(y)
    plain = sbn.AffineBernoulli(sbn.affine(states.flatten(1), v)).log_prob(y)
    assert torch.allclose(flat, own, atol=1e-13)
    assert torch.allclose(flat, by_moved, atol=1e-13)
    assert (flat - plain).abs().max() > 1e-3
    g = [torch.autograd.grad(t.sum(), v)[0] for t in (flat, own, by_moved)]
    assert torch.allclose(g[0], g[1], atol=1e-13)
    assert torch.allclose(g[0], g[2], atol=1e-13)


def test_law_that_is_expanded_is_averaged_in_every_copy():
    w = torch.randn(3, 5)
    for make_law in (
        lambda h: sbn.AffineNormal(sbn.affine(h, w), 1.0),
        lambda h: sbn.FlipLikelihood(lambda s: dist.Normal(s @ w.mT, 1.0).to_event(1), h),
    ):
        law, y = make_law(drawn((1, 5))[2]), torch.randn(4, 3)
        wide = law.expand((4,)).log_prob(y)
        single = torch.cat([law.log_prob(y[n : n + 1]) for n in range(4)])
        assert torch.allclose(wide, single, atol=1e-13)
        assert torch.allclose(wide, law.log_prob(y), atol=1e-13)


def test_network_of_the_package_trains_with_it():
    torch.manual_seed(0)
    x = torch.randn(64, 6)
    y = (x[:, 0] > 0).long()
    model = sbn.models.BinaryMLP(6, [16], 2, num_data=64)
    guide = sbn.guides.AutoSignBernoulli(model)
    elbo = sbn.TraceEstimator_ELBO(PathSampleAnalytic(rao_blackwell=True), temperature="auto")
    optim = sbn.optim.MirrorDescent({"lr": 0.05, "real": ("Adam", {"lr": 0.02})})
    svi = pyro.infer.SVI(model, guide, optim, loss=elbo)
    losses = [svi.step(x, y) for _ in range(200)]
    assert np.mean(losses[-20:]) < 0.7 * np.mean(losses[:20])


def test_draw_that_was_changed_on_the_way_is_refused():
    _, _, h = drawn((4, 5))
    w = torch.randn(3, 5)
    other = tag_sign(-h.detach(), "h", drawn((4, 5))[2]._sbn_sign.flip)
    short = tag_sign(h.detach()[:, :3], "h", h._sbn_sign.flip)
    for x, matrix in ((other, w), (short, w[:, :3])):
        for value in (
            lambda x=x, m=matrix: sbn.AffineNormal(sbn.affine(x, m), 1.0).log_prob(
                torch.ones(4, 3)
            ),
            lambda x=x: sbn.exact_flips(lambda s: s.sum(-1), x),
        ):
            with pytest.raises(ValueError, match=r'draw of site "h" after it was pooled.*"psa"'):
                value()


def test_option_is_true_or_false():
    with pytest.raises(TypeError, match="rao_blackwell='yes'"):
        PathSampleAnalytic(rao_blackwell="yes")
    assert "rao_blackwell=True" in repr(AVERAGED)


@pytest.mark.parametrize("how", [sbn.max_pool1d, sbn.average_pool1d])
def test_pooled_layers_are_refused(how):
    pooled = sbn.flatten(how(drawn((3, 2, 4))[2], 2), 2)
    with pytest.raises(ValueError, match=r'draw of site "h" after it was pooled.*"psa"'):
        sbn.AffineNormal(sbn.affine(pooled, torch.randn(2, 4)), 1.0).log_prob(torch.ones(3, 2))


def test_heads_that_read_two_layers_are_refused():
    h, other = drawn((3, 4))[2], torch.ones(3, 4)
    w = torch.randn(2, 4)
    y = torch.tensor([0, 1, 1])
    for head in (sbn.affine(h, w) + sbn.affine(other, w), sbn.affine(other, w) + sbn.affine(h, w)):
        with pytest.raises(ValueError, match="reads more than one layer"):
            sbn.AffineCategorical(head).log_prob(y)
    with pytest.raises(ValueError, match="or one without weights"):
        sbn.AffineNormal(sbn.identity(h), 1.0).log_prob(torch.ones(3, 4))


SAMPLED_HEADS = {
    "categorical": lambda h, w: sbn.AffineCategorical(sbn.affine(h, w)),
    "bernoulli": lambda h, w: sbn.AffineBernoulli(sbn.affine(h, w)),
    "normal": lambda h, w: sbn.AffineNormal(sbn.affine(h, w), 1.0),
    "user": lambda h, w: sbn.FlipLikelihood(lambda s: dist.Normal(s @ w.mT, 1.0).to_event(1), h),
}


@pytest.mark.parametrize("head", SAMPLED_HEADS)
def test_targets_that_were_drawn_from_the_head_are_refused(head):
    h, w = drawn((3, 4))[2], torch.randn(2, 4)
    law = SAMPLED_HEADS[head](h, w)
    target = law.sample()
    with pytest.raises(ValueError, match=r"log_prob\(y\): rao_blackwell=True, and y was drawn"):
        law.log_prob(target)
    law.log_prob(target.clone())  # data that happen to be the same
    plain = SAMPLED_HEADS[head](h.detach(), w)
    plain.log_prob(plain.sample())
