"""Calibration errors of every kind: by loops, by other packages, and without the bias of chance."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from bayes_sbn.metrics import (
    UndefinedMetricWarning,
    debiased_rmsce,
    ece,
    mce,
    rmsce,
)
from tests import chance
from tests.metrics.golden_cases import two_classes

KINDS = ("top", "classwise", "marginal")


@pytest.fixture(scope="module")
def golden() -> tuple[np.ndarray, np.ndarray]:
    """The rows that other packages were given: 300 of 4 classes, the last six certain."""
    generator = np.random.default_rng(11)
    weights = generator.random((300, 4)) ** 3
    probs = weights / weights.sum(1, keepdims=True)
    true = probs**0.7 / (probs**0.7).sum(1, keepdims=True)
    labels = (true.cumsum(1) < generator.random((300, 1))).sum(1).clip(0, 3)
    probs[-6:] = np.eye(4)[[0, 1, 2, 3, 0, 1]]
    return probs, labels


def sets_by_loop(probs, labels, kind) -> list[list[tuple[float, bool]]]:
    """Events as pairs, by the definition of each kind."""
    rows = list(zip(probs.tolist(), labels.tolist(), strict=True))
    if kind == "top":
        return [[(max(row), row.index(max(row)) == y) for row, y in rows]]
    sets = [[(row[c], c == y) for row, y in rows] for c in range(probs.shape[1])]
    return [list(itertools.chain(*sets))] if kind == "marginal" else sets


def errors_of_set(pairs, edges) -> tuple[float, float, float, float]:
    """ECE, MCE, and the plain and debiased mean squares of one set of events, bin by bin."""
    expected = largest = square = debiased = 0.0
    for b, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = [
            (p, z)
            for p, z in pairs
            if (low < p or b == 0) and (p <= high or b == len(edges) - 2)
            # of equal inner edges the first bin takes the probability on them
        ]
        if inside:
            n, share = len(inside), len(inside) / len(pairs)
            hits = sum(z for _, z in inside) / n
            gap = math.fsum(p for p, _ in inside) / n - hits
            expected += share * abs(gap)
            largest = max(largest, abs(gap))
            square += share * gap**2
            if n > 1:
                debiased += share * (gap**2 - hits * (1 - hits) / (n - 1))
    return expected, largest, square, debiased


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bins", ["width", "mass"])
@pytest.mark.parametrize("num_bins", [1, 4, 15, 40])
def test_errors_of_all_kinds_equal_loops(case, kind, bins, num_bins):
    sets = []
    for pairs in sets_by_loop(*case, kind):
        edges = [b / num_bins for b in range(num_bins + 1)]
        if bins == "mass":
            rising = sorted(p for p, _ in pairs)
            edges[1:-1] = [
                rising[math.ceil(Fraction(len(pairs) * b, num_bins)) - 1]
                for b in range(1, num_bins)
            ]
        sets.append(errors_of_set(pairs, edges))
    expected, largest, square, debiased = np.transpose(sets)
    options = {"kind": kind, "bins": bins, "num_bins": num_bins}
    np.testing.assert_allclose(ece(*case, **options), expected.mean(), atol=1e-13)
    np.testing.assert_allclose(mce(*case, **options), largest.max(), atol=1e-13)
    np.testing.assert_allclose(rmsce(*case, **options), math.sqrt(square.mean()), atol=1e-13)
    np.testing.assert_allclose(
        debiased_rmsce(*case, **options, squared=True), debiased.mean(), atol=1e-13
    )
    np.testing.assert_allclose(
        debiased_rmsce(*case, **options), math.sqrt(max(debiased.mean(), 0)), atol=1e-12
    )


def test_defaults_are_bit_for_bit_those_of_the_first_release(golden):
    # Written down from the code that knew the top label and bins of equal width alone.
    assert ece(*golden) == float.fromhex("0x1.aa22520a319f2p-4")
    assert mce(*golden) == float.fromhex("0x1.1c6227a4c241fp-2")
    assert rmsce(*golden) == float.fromhex("0x1.f8a8dd13aa829p-4")


def test_errors_equal_netcal(golden):
    # netcal 1.4.0: ECE(15, equal_intervals=True or False).measure(probs, labels) and MCE, then for
    # each class .measure(probs[:, c], labels == c), and of all classes .measure(probs.T.ravel(),
    # np.eye(4)[labels].T.ravel()).  Its bins are [a, b), but no probability is on an inner edge.
    by_width = [0.07015399608432445, 0.08286556751733633, 0.08206369113415606, 0.07056483954749067]
    by_mass = [0.05105056366051797, 0.07639485477560239, 0.06556369925103095, 0.06770445286544542]
    for bins, top, classes, marginal in (
        ("width", 0.10403663679890214, by_width, 0.050617932336445244),
        ("mass", 0.12352642759345592, by_mass, 0.05323236468186392),
    ):
        expected = {"top": top, "classwise": np.mean(classes), "marginal": marginal}
        for kind, value in expected.items():
            np.testing.assert_allclose(ece(*golden, kind=kind, bins=bins), value, rtol=1e-12)
    for bins, top, largest, marginal in (
        ("width", 0.2777181810675434, 0.8368412952928032, 0.2777181810675434),
        ("mass", 0.32858544131257916, 0.26077498564198465, 0.1412305905978436),
    ):
        expected = {"top": top, "classwise": largest, "marginal": marginal}
        for kind, value in expected.items():
            np.testing.assert_allclose(mce(*golden, kind=kind, bins=bins), value, rtol=1e-12)


def test_root_mean_squares_equal_uncertainty_calibration(golden):
    # uncertainty-calibration 0.1.4: calibration.lower_bound_scaling_ce(probs, labels, p=2,
    # debias=False or True, num_bins=15, binning_scheme=get_equal_prob_bins or get_equal_bins,
    # mode="top-label" or "marginal"); its "marginal" is our "classwise", and our "marginal" was
    # asked of the 1200 events as of one class.  (15 divides 300 and 1200: the masses are the same.)
    for bins, kind, plain, debiased in (
        ("width", "top", 0.12320791586049097, 0.08563086895509664),
        ("width", "marginal", 0.06721386903518389, 0.046023317742029016),
        ("width", "classwise", 0.11088049416568466, 0.05623837641310498),
        ("mass", "top", 0.15227941462314054, 0.1101652782823108),
        ("mass", "marginal", 0.06429923289671255, 0.048139466436000436),
        ("mass", "classwise", 0.09129664923605117, 0.038203569765624175),
    ):
        found = rmsce(*golden, kind=kind, bins=bins)
        np.testing.assert_allclose(found, plain, rtol=1e-12, err_msg=f"{bins} {kind}")
        # They take the root of each class before the mean, so that a negative square counts as 0.
        per_class = [
            debiased_rmsce(np.stack([1 - p, p], -1), golden[1] == c, kind="classwise", bins=bins)
            for c, p in enumerate(golden[0].T)
        ]
        found = debiased_rmsce(*golden, kind=kind, bins=bins)
        if kind == "classwise" and min(per_class) == 0:
            assert found < debiased
        else:
            np.testing.assert_allclose(found, debiased, rtol=1e-12, err_msg=f"{bins} {kind}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bins", ["width", "mass"])
def test_errors_do_not_depend_on_the_order_of_rows(case, kind, bins):
    probs, labels = case
    probs = np.round(probs, 2)  # many ties
    probs /= probs.sum(1, keepdims=True)
    order = np.random.default_rng(0).permutation(len(labels))
    for error in (ece, mce, rmsce, debiased_rmsce):
        np.testing.assert_allclose(
            error(probs[order], labels[order], kind=kind, bins=bins),
            error(probs, labels, kind=kind, bins=bins),
            rtol=1e-10,
            atol=1e-14,
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bins", ["width", "mass"])
def test_certain_and_right_rows_have_no_error(kind, bins):
    probs = np.eye(3)[[0, 1, 2, 2]]
    for error in (ece, mce, rmsce, debiased_rmsce):
        assert error(probs, [0, 1, 2, 2], kind=kind, bins=bins) == 0
        assert error(probs, [1, 2, 0, 0], kind=kind, bins=bins) > 0.4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bins", ["width", "mass"])
def test_errors_of_a_single_row(kind, bins):
    probs = [[0.25, 0.75]]
    for error in (ece, mce, rmsce):
        assert error(probs, [1], kind=kind, bins=bins, num_bins=4) == 0.25
    with pytest.warns(UndefinedMetricWarning, match="of one there is no estimate"):
        assert np.isnan(debiased_rmsce(probs, [1], bins=bins))


def test_zero_is_in_the_first_bin():
    # Of class 0: the probabilities 0 and 0.2, of which none comes true, are in one bin of three.
    probs = [[0.0, 1.0], [0.2, 0.8]]
    np.testing.assert_allclose(mce(probs, [1, 1], kind="classwise", num_bins=3), 0.1, rtol=1e-14)


def test_classes_of_two_mirror_each_other():
    generator = np.random.default_rng(8)
    p = generator.random(300)
    labels = (generator.random(300) < p**2).astype(int)
    probs = np.stack([1 - p, p], axis=-1)
    for error, at in ((ece, 0), (mce, 1)):
        edges = [b / 15 for b in range(16)]
        one = errors_of_set(list(zip(p.tolist(), (labels == 1).tolist(), strict=True)), edges)[at]
        np.testing.assert_allclose(error(probs, labels, kind="classwise"), one, rtol=1e-12)
    # In one heap the classes' gaps, of opposite signs, cancel where both have the same probability.
    assert ece(probs, labels, kind="marginal") < ece(probs, labels, kind="classwise") / 2


def test_debiased_square_is_unbiased():
    # Expectations are finite sums: 3 rows of one bin, every outcome with its probability.
    for truth in (0.75, 0.5):
        plain = debiased = 0.0
        for outcome in np.ndindex(2, 2, 2):
            labels = [0 if z else 1 for z in outcome]
            chance_of = math.prod(truth if z else 1 - truth for z in outcome)
            probs = two_classes([0.75] * 3)
            plain += chance_of * rmsce(probs, labels) ** 2
            debiased += chance_of * debiased_rmsce(probs, labels, squared=True)
        np.testing.assert_allclose(debiased, (0.75 - truth) ** 2, atol=1e-15)
        np.testing.assert_allclose(plain - debiased, truth * (1 - truth) / 3, rtol=1e-12)


def test_debiased_square_of_calibrated_rows_is_zero_on_average():
    generator = chance.numpy_generator("debiased rmsce of calibrated rows")
    confidence = 0.5 + generator.random((3000, 30)) / 2  # 15 bins of two
    right = generator.random((3000, 30)) < confidence
    pairs = [(two_classes(c), np.where(z, 0, 1)) for c, z in zip(confidence, right, strict=True)]
    debiased = np.array([debiased_rmsce(*pair, squared=True) for pair in pairs])
    plain = np.array([rmsce(*pair, bins="mass") ** 2 for pair in pairs])
    chance.assert_mean(debiased, 0.0, bounds=(-0.25, 1), detects=0.06)
    with pytest.raises(AssertionError, match="off by"):  # positive control: what it takes away
        chance.assert_mean(plain, 0.0, bounds=(0, 1), detects=0.06)


@pytest.mark.parametrize("error", [ece, mce, rmsce, debiased_rmsce])
def test_errors_refuse_unknown_kinds_and_bins(error):
    name = error.__name__
    with pytest.raises(
        ValueError, match=rf"{name}\(\) needs kind='top' or kind='classwise' or kind="
    ):
        error([[0.5, 0.5]], [0], kind="all")
    with pytest.raises(
        ValueError, match=rf"{name}\(\) needs bins='width' or bins='mass': received"
    ):
        error([[0.5, 0.5]], [0], bins=10)
    with pytest.raises(ValueError, match=rf"{name}\(\) needs num_bins of at least 1"):
        error([[0.5, 0.5]], [0], num_bins=0)
