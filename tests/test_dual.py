"""The node between a natural parameter and its mean, and the register of leaves."""

import copy
import gc
import weakref

import pytest
import torch

from bayes_sbn import dual
from bayes_sbn.dual import DUAL_LIMIT, Leaf, leaf_of, mean_node, register_leaf


def test_mean_node_is_tanh_with_the_identity_as_backward():
    lam = torch.linspace(-9, 9, 19, requires_grad=True)
    mean = mean_node(lam)
    torch.testing.assert_close(mean, torch.tanh(lam.detach()))
    g = torch.randn(19)
    mean.backward(g)
    assert torch.equal(lam.grad, g)


def test_mean_node_gives_the_gradient_in_the_mean():
    lam = torch.tensor([0.3, -1.2], requires_grad=True)
    mean = torch.tanh(lam.detach()).requires_grad_()
    for node in (mean_node(lam), mean):
        (node.prod() + node.square().sum()).backward()
    torch.testing.assert_close(lam.grad, mean.grad)


def test_mean_node_learns_even_where_tanh_is_flat():
    lam = torch.tensor(40.0, dtype=torch.float32, requires_grad=True)
    (3 * mean_node(lam)).backward()
    assert lam.grad.item() == 3.0


def test_dual_limit_is_the_resolution_of_a_float32_uniform():
    p = torch.sigmoid(torch.tensor(-2 * DUAL_LIMIT)).item()
    assert 2**-24 < p < 2**-23


def test_register_tells_the_path_and_the_kind():
    parameter = torch.nn.Parameter(torch.zeros(3))
    assert leaf_of(parameter) is None
    register_leaf(parameter, "posterior.w", is_dual=True)
    assert leaf_of(parameter) == Leaf("posterior.w", is_dual=True)
    register_leaf(parameter, "w", is_dual=False)  # the last word counts
    assert leaf_of(parameter) == Leaf("w", is_dual=False)


def test_register_goes_by_identity_and_not_by_value():
    first, second = torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(3))
    register_leaf(first, "first", is_dual=True)
    assert leaf_of(second) is None
    register_leaf(second, "second", is_dual=False)
    assert leaf_of(first).path == "first"


@pytest.mark.parametrize("make", [torch.nn.Parameter, lambda t: t.requires_grad_()])
def test_register_is_weak(make):
    parameter = make(torch.zeros(3))
    leaf = Leaf("a path that no other test has", is_dual=True)
    register_leaf(parameter, leaf.path, is_dual=leaf.is_dual)
    assert leaf in dual._LEAVES.values()
    reference = weakref.ref(parameter)
    del parameter
    gc.collect()
    assert reference() is None
    assert leaf not in dual._LEAVES.values()


def test_register_forgets_so_that_no_later_tensor_is_taken_for_a_leaf():
    for _ in range(200):  # addresses are used again soon
        parameter = torch.nn.Parameter(torch.zeros(1))
        assert leaf_of(parameter) is None
        register_leaf(parameter, "w", is_dual=True)
        del parameter


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda module: copy.copy(module)])
def test_register_is_not_confused_by_copies(duplicate):
    module = torch.nn.Linear(2, 2)
    register_leaf(module.weight, "weight", is_dual=True)
    twin = duplicate(module)
    shares = twin.weight is module.weight
    assert shares == (duplicate is not copy.deepcopy)
    assert (leaf_of(twin.weight) is None) != shares
    if not shares:
        register_leaf(twin.weight, "twin.weight", is_dual=False)
    assert leaf_of(module.weight) == Leaf("weight", is_dual=True)


def test_register_survives_data_changes_and_the_graph():
    parameter = torch.nn.Parameter(torch.zeros(3))
    register_leaf(parameter, "w", is_dual=True)
    parameter.data = torch.ones(5)
    (2 * parameter).sum().backward()
    with torch.no_grad():
        parameter.add_(1.0)
    assert leaf_of(parameter) == Leaf("w", is_dual=True)
