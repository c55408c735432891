"""Blocks fit into the memory that they are given; where none does, an error says what one takes."""

import numpy as np
import pytest

from bayes_sbn.kernels.reference.block_size import block_bytes, block_size
from bayes_sbn.kernels.reference.network import DenseLayer, Network


def network():
    """Two layers of fair weights; only their sizes matter here."""
    layers = [
        DenseLayer(
            site=site,
            thresholds=np.full((out, inputs), 1 << 31, np.uint64),
            scale=np.ones(out),
            bias=np.zeros(out),
            noise=noise,
            noise_scale=1.0,
        )
        for site, (inputs, out, noise) in enumerate([(64, 256, "logistic"), (256, 10, None)])
    ]
    return Network(tuple(layers), 1.0)


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("max_memory", [1 << 20, 1 << 21, 1 << 27])
def test_block_stays_within_the_memory(is_shared, max_memory):
    per_draw, per_cell = block_bytes(network(), is_shared=is_shared)
    draws, rows = block_size("predict()", network(), 10**6, max_memory, is_shared=is_shared)
    assert draws >= 1
    assert rows >= 1
    assert draws * (per_draw + rows * per_cell) <= max_memory


def test_block_grows_with_the_memory_up_to_the_rows_there_are():
    assert block_size("predict()", network(), 100, 1 << 26, is_shared=True)[1] == 100
    few = block_size("predict()", network(), 10**6, 1 << 21, is_shared=True)
    many = block_size("predict()", network(), 10**6, 1 << 27, is_shared=True)
    assert few[0] * few[1] < many[0] * many[1]


def test_memory_for_no_block_is_an_error():
    with pytest.raises(
        ValueError, match=r"predict\(max_memory=1000\): one draw and one row .* Write"
    ):
        block_size("predict()", network(), 5, 1000, is_shared=True)
