"""Philox4x32: published known answers, and the NumPy and torch forms against each other."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bayes_sbn.philox import fold_stream, philox4x32_numpy, philox4x32_torch

VECTORS = Path(__file__).parent / "vectors" / "philox4x32.txt"


def known_answers() -> list[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    """Rounds, the six words of counter and key, the four expected words."""
    rows = []
    for line in VECTORS.read_text().splitlines():
        if line and not line.startswith("#"):
            rounds, *words = line.split()
            numbers = tuple(int(word, 16) for word in words)
            rows.append((int(rounds), numbers[:6], numbers[6:]))
    return rows


def philox_in_python_integers(counter, key, rounds):
    """Algorithm of the paper, written out with unbounded integers."""
    mask = 2**32 - 1
    c, k = list(counter), list(key)
    for number in range(rounds):
        if number > 0:
            k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & mask, (a >> 32) ^ c[3] ^ k[1], a & mask]
    return c


def test_vectors_are_the_six_published_rows():
    rows = known_answers()
    assert [rounds for rounds, _, _ in rows] == [7, 7, 7, 10, 10, 10]
    assert all(len(inputs) == 6 and len(outputs) == 4 for _, inputs, outputs in rows)


@pytest.mark.parametrize(("rounds", "inputs", "expected"), known_answers())
def test_philox_numpy_gives_the_known_answers(rounds, inputs, expected):
    words = philox4x32_numpy(*inputs, rounds=rounds)
    assert all(isinstance(w, np.ndarray) and w.dtype == np.uint32 and w.shape == () for w in words)
    assert tuple(int(w) for w in words) == expected


@pytest.mark.parametrize(("rounds", "inputs", "expected"), known_answers())
def test_philox_torch_gives_the_known_answers(rounds, inputs, expected):
    words = philox4x32_torch(*inputs, rounds=rounds)
    assert all(w.dtype == torch.int64 and w.shape == () for w in words)
    assert tuple(int(w) for w in words) == expected


def test_philox_default_is_ten_rounds():
    _, inputs, expected = known_answers()[-1]
    assert tuple(int(w) for w in philox4x32_numpy(*inputs)) == expected
    assert tuple(int(w) for w in philox4x32_torch(*inputs)) == expected


@pytest.mark.parametrize("rounds", [1, 2, 3, 7, 8, 9, 10, 16])
def test_philox_equals_unbounded_integers_for_every_number_of_rounds(rounds):
    generator = np.random.default_rng(rounds)
    inputs = generator.integers(0, 2**32, size=(6, 40), dtype=np.uint32)
    numpy_words = philox4x32_numpy(*inputs, rounds=rounds)
    torch_words = philox4x32_torch(*torch.tensor(inputs.astype(np.int64)), rounds=rounds)
    for column in range(40):
        c, k = [int(v) for v in inputs[:4, column]], [int(v) for v in inputs[4:, column]]
        expected = philox_in_python_integers(c, k, rounds)
        assert [int(w[column]) for w in numpy_words] == expected
        assert [int(w[column]) for w in torch_words] == expected


@pytest.mark.parametrize("rounds", [1, 10])
def test_philox_broadcasts_like_an_explicit_grid(rounds):
    unit = np.arange(5, dtype=np.uint32)[:, None]
    word = np.arange(3, dtype=np.uint32)[None, :]
    words = philox4x32_numpy(word, unit, 7, 2, 11, 13, rounds=rounds)
    words_torch = philox4x32_torch(
        torch.arange(3)[None, :], torch.arange(5)[:, None], 7, 2, 11, 13, rounds=rounds
    )
    for u in range(5):
        for w in range(3):
            expected = philox_in_python_integers([w, u, 7, 2], [11, 13], rounds)
            assert [int(r[u, w]) for r in words] == expected
            assert [int(r[u, w]) for r in words_torch] == expected


def test_philox_results_can_be_written_to():
    for r in philox4x32_numpy(np.arange(4, dtype=np.uint32)[:, None], np.arange(2), 0, 0, 0, 0, 1):
        r += 1
    for t in philox4x32_torch(torch.arange(4)[:, None], torch.arange(2), 0, 0, 0, 0, rounds=1):
        t[0] = -1
        assert int((t == -1).sum()) == 2  # one row, not a broadcast view of it


def test_philox_takes_signed_words_as_their_bits():
    signed = np.array([-1, -(2**31), 5], dtype=np.int32)
    unsigned = signed.view(np.uint32)
    for a, b in zip(
        philox4x32_numpy(signed, 0, 0, 0, 0, 0),
        philox4x32_numpy(unsigned, 0, 0, 0, 0, 0),
        strict=True,
    ):
        assert np.array_equal(a, b)
    for a, b in zip(
        philox4x32_torch(torch.tensor(signed), 0, 0, 0, 0, 0),
        philox4x32_numpy(unsigned, 0, 0, 0, 0, 0),
        strict=True,
    ):
        assert np.array_equal(a.numpy(), b.astype(np.int64))


@pytest.mark.parametrize("philox", [philox4x32_numpy, philox4x32_torch])
def test_philox_refuses_words_that_do_not_fit(philox):
    with pytest.raises(ValueError, match=r"c2=4294967296\): a word lies in \[0, 2\*\*32\)"):
        philox(0, 0, 2**32, 0, 0, 0)
    with pytest.raises(ValueError, match=r"k1=-1\)"):
        philox(0, 0, 0, 0, 0, -1)
    with pytest.raises(ValueError, match=r"rounds=0\): the number of rounds lies between 1 and 16"):
        philox(0, 0, 0, 0, 0, 0, rounds=0)
    with pytest.raises(TypeError):
        philox(0.5, 0, 0, 0, 0, 0)


def test_philox_refuses_real_arrays():
    with pytest.raises(TypeError, match="c0 of dtype float64: words are integers"):
        philox4x32_numpy(np.zeros(2), 0, 0, 0, 0, 0)
    with pytest.raises(TypeError, match=r"c1 of dtype torch\.float64: words are integers"):
        philox4x32_torch(0, torch.zeros(2, dtype=torch.float64), 0, 0, 0, 0)


def test_fold_stream_zero_is_the_seed_itself():
    assert fold_stream(0) == (0, 0)
    assert fold_stream(0x0123456789ABCDEF) == (0x89ABCDEF, 0x01234567)
    assert fold_stream(2**64 - 1, 0) == (2**32 - 1, 2**32 - 1)
    assert fold_stream(np.int64(5)) == (5, 0)


def test_fold_stream_is_philox_of_the_stream():
    seed, stream = 0x0123456789ABCDEF, 0xFEDCBA9876543210
    expected = philox_in_python_integers(
        [0x76543210, 0xFEDCBA98, 0, 0xFFFFFFFF], [0x89ABCDEF, 0x01234567], 10
    )
    assert fold_stream(seed, stream) == (expected[0], expected[1])


def test_fold_stream_separates_streams_and_seeds():
    keys = {fold_stream(seed, stream) for seed in range(30) for stream in range(30)}
    assert len(keys) == 900


@pytest.mark.parametrize(
    ("seed", "stream", "name"),
    [(-1, 0, "seed"), (2**64, 0, "seed"), (0, -3, "stream"), (0, 2**64, "stream")],
)
def test_fold_stream_refuses_what_is_not_64_bits(seed, stream, name):
    with pytest.raises(ValueError, match=rf"fold_stream\({name}=.*in \[0, 2\*\*64\)"):
        fold_stream(seed, stream)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_philox_on_cuda_equals_cpu():
    c = torch.arange(1000, dtype=torch.int64)
    cpu = philox4x32_torch(c, c + 1, 2, 3, 0xFFFFFFFF, 5)
    cuda = philox4x32_torch(c.cuda(), c.cuda() + 1, 2, 3, 0xFFFFFFFF, 5)
    for a, b in zip(cpu, cuda, strict=True):
        assert b.is_cuda
        assert torch.equal(a, b.cpu())
