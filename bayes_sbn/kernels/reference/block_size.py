"""How many draws and rows of a network are run at a time: as many as fit into so many bytes.

``draws * (bytes of a draw + rows * bytes of a row) <= max_memory``, with 512 rows or all there are;
where not even one draw fits, one draw and fewer rows.
"""

from __future__ import annotations

from bayes_sbn.kernels.reference.network import Network

_ROWS_AT_A_TIME = 512


def block_size(
    call: str, network: Network, num_rows: int, max_memory: int, *, is_shared: bool
) -> tuple[int, int]:
    """How many draws and rows at a time fit into so many bytes.

    Args:
        call: the call to name in the error.
        network: the layers.
        num_rows: how many rows there are.
        max_memory: the bytes.
        is_shared: whether the rows of a draw share their noise.

    Raises:
        ValueError: not even one draw of one row fits.
    """
    per_draw, per_cell = block_bytes(network, is_shared=is_shared)
    rows = min(num_rows, _ROWS_AT_A_TIME)
    draws = max_memory // (per_draw + rows * per_cell)
    if draws >= 1:
        return draws, rows
    rows = (max_memory - per_draw) // per_cell
    if rows < 1:
        raise ValueError(
            f"{call[:-1]}max_memory={max_memory}): one draw and one row of this network take "
            f"{per_draw + per_cell} bytes. Write max_memory={per_draw + per_cell} or more."
        )
    return 1, rows


def block_bytes(network: Network, *, is_shared: bool) -> tuple[int, int]:
    """Working memory of a block: bytes for each draw, and for each row of each draw.

    A draw holds its unpacked weights (the first layer's and real ones perhaps in 8 bytes too) and
    the words, planes and uniforms they came from; a row of a draw holds the dots and activations of
    two neighbouring layers and, with noise of its own, thresholds, uniforms and the generator's
    state.  Dots of real weights may take 8 bytes, three times over.
    """
    sizes = [layer.num_units * layer.num_inputs for layer in network.layers]
    real = [layer.is_real for layer in network.layers]
    weights = sum(sizes)
    wide = 24 if any(real) else 0
    first = network.layers[0].num_units * network.layers[0].num_inputs
    widest = max(layer.num_units for layer in network.layers)
    per_draw = 5 * weights + 8 * first + 8 * sum(s for s, r in zip(sizes, real, strict=True) if r)
    if is_shared:
        # the search for thresholds holds about a dozen numbers of 8 bytes a unit
        return per_draw + 100 * widest, (25 + wide) * widest
    # rows' own uniforms come in groups of 32 rows, of which a block may need a part of two
    return per_draw + 62 * 24 * widest, (80 + wide) * widest
