"""Real inputs on their 16-bit grid: exact rounding, and errors that tell what to do."""

import numpy as np
import pytest
import torch

from bayes_sbn.kernels.reference.inputs import round_inputs


def test_inputs_are_rounded_to_the_nearest_step_ties_to_even():
    x = np.array([[0.0, 0.25, 0.75, -0.25, -0.75, 0.2500001, -16383.5]])
    steps = round_inputs("predict()", x, 7, 0.5)
    assert steps.dtype == np.int16
    assert steps.tolist() == [[0, 0, 2, 0, -2, 1, -32767]]


@pytest.mark.parametrize(
    "x",
    [
        np.array([[1, -1]], np.int64),
        np.array([[1.0, -1.0]], np.float32),
        torch.tensor([[1.0, -1.0]], dtype=torch.bfloat16),
        torch.tensor([[1.0, -1.0]], dtype=torch.float16, requires_grad=True),
        torch.tensor([[1, -1]], dtype=torch.int8),
        [[1.0, -1.0]],
    ],
)
def test_inputs_of_every_kind_of_numbers(x):
    assert round_inputs("predict()", x, 2, 2.0**-3).tolist() == [[8, -8]]


def test_inputs_of_no_rows():
    assert round_inputs("predict()", np.zeros((0, 3)), 3, 1.0).shape == (0, 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_inputs_that_are_not_finite_name_their_row(bad):
    x = np.zeros((9, 2))
    x[4, 1] = x[7, 0] = bad
    with pytest.raises(
        ValueError, match=r"predict\(\) needs finite inputs: row 4 has .* column 1.*2 values"
    ):
        round_inputs("predict()", x, 2, 1.0)


def test_inputs_beyond_the_grid_are_refused_and_counted():
    x = np.zeros((9, 2))
    x[3, 0], x[8, 1] = 9.0, -12.5
    message = (
        r"received 2 values beyond the posterior's input range of ±7\.99976: the first is 9 in "
        r"row 3, the largest magnitude 12\.5.*x\.clip\(-7\.99975586, 7\.99975586\).*"
        r"input_range=12\.5"
    )
    with pytest.raises(ValueError, match=message):
        round_inputs("predict()", x, 2, 2.0**-12)
    clipped = round_inputs("predict()", x.clip(-7.99975586, 7.99975586), 2, 2.0**-12)
    assert clipped[3, 0] == 32767
    with pytest.raises(ValueError, match="beyond"):
        round_inputs("predict()", np.full((1, 2), 1e308), 2, 2.0**-12)


def test_inputs_of_the_wrong_shape_are_refused():
    with pytest.raises(
        ValueError, match=r"shape \(rows, 3\): received shape \(5, 4\).*reshape\(-1, 3\)"
    ):
        round_inputs("predict()", np.zeros((5, 4)), 3, 1.0)
    with pytest.raises(ValueError, match=r"received shape \(3,\)\. Write x\[None\]"):
        round_inputs("predict()", np.zeros(3), 3, 1.0)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 3), bool), r"received bool\. Map it with 2\.0 \* x - 1\.0"),
        (torch.zeros(2, 3, dtype=torch.bool), r"received bool"),
        (np.zeros((2, 3), complex), r"received complex128\. Pass real numbers"),
        (np.array([["a", "b", "c"]]), r"received <U1\. Pass real numbers"),
    ],
)
def test_inputs_that_are_not_numbers_are_refused(x, message):
    with pytest.raises(TypeError, match=message):
        round_inputs("predict()", x, 3, 1.0)
