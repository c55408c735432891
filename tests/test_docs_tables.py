"""The tables of the documentation repeat what the program and the tests say, and nothing else."""

import re
from pathlib import Path

import bayes_sbn as sbn
from bayes_sbn.estimators.estimator import REGISTRY
from tests.affines.test_moments import ERROR_OF_STRETCHING
from tests.estimators.test_exact_expectation import RECORDED_BIAS
from tests.estimators.test_moment_propagation import RECORDED_BIAS as MOMENTS_BIAS
from tests.estimators.test_relaxed_biases import RECORDED_BIAS as RELAXED_BIAS
from tests.estimators.test_trapezoid_straight_through import RECORDED_BIAS as ZGR_BIAS
from tests.test_convolutional_networks import RECORDED_BIAS as RECORDED_BIAS_OF_A_KERNEL
from tests.test_convolutional_networks import RECORDED_MEDIAN
from tests.test_imports import LAYERS
from tests.test_signs_max_pooled import RECORDED_BIAS as RECORDED_BIAS_OF_MAX_POOLING
from tests.test_structured_networks import RECORDED_BIAS as RECORDED_BIAS_OF_STRUCTURE

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def rows(page: str, header: str) -> list[list[str]]:
    """The cells of the table with that header."""
    lines = (DOCS / page).read_text("utf-8").splitlines()
    assert lines.count(header) == 1, f"{page} has no table {header}"
    start = lines.index(header) + 2
    end = next(k for k in range(start, len(lines) + 1) if not (lines[k : k + 1] or [""])[0])
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:end]]


def test_architecture_page_has_the_layers_of_the_package():
    package = ROOT / "bayes_sbn"
    there = {
        level: [n for n in names if (package / n).is_dir() or (package / f"{n}.py").is_file()]
        for level, names, _ in LAYERS
    }
    listed = {
        level: re.findall(r"`(\w+)`", names)
        for level, names, _ in rows("architecture.md", "| level | modules | what they are |")
    }
    assert listed == there


def test_psa_page_has_the_recorded_biases():
    networks = {"2-2-2-3": "two_hidden_layers", "2-3-3-3": "two_hidden_layers_real_weights"}
    layers = {"first layer": "layers.0", "second layer": "layers.1"}
    kinds = {"bias": "bias", "scale": "scale", "weights": "weight", "weight means": "weight_mean"}
    listed: dict[tuple[str, str], dict[str, float]] = {key: {} for key in RECORDED_BIAS}
    problem = ""
    page = "methods/path_sample_analytic.md"
    for network, block, psa, st in rows(page, "| network | block | psa | st |"):
        problem = networks[network.split(",")[0]] if network else problem
        layer, kind = block.split(", ")
        for estimator, value in (("psa", psa), ("st", st)):
            if value != "exact":
                listed[problem, estimator][f"{layers[layer]}.{kinds[kind]}"] = float(value)
    recorded = {
        key: {block: float(f"{bias:.2g}") for block, bias in values.items()}
        for key, values in RECORDED_BIAS.items()
    }
    assert listed == recorded


def test_methods_page_lists_the_registered_estimators():
    listed = {
        cells[0].strip('`"')
        for cells in rows("methods/index.md", "| name | rule | exact where | page |")
    }
    own = {n for n, cls in REGISTRY.items() if cls.__module__.startswith("bayes_sbn.")}
    assert listed == own


def test_rivals_page_has_the_recorded_biases_of_zgr():
    networks = {"2-2-2-3": "two_hidden_layers", "2-3-3-3": "two_hidden_layers_real_weights"}
    layers = {"first layer": "layers.0", "second layer": "layers.1"}
    kinds = {"bias": "bias", "weights": "weight", "weight means": "weight_mean"}
    problem = ""
    for network, block, zgr, st in rows("methods/rivals.md", "| network | block | zgr | st |"):
        problem = networks[network.split(",")[0]] if network else problem
        layer, kind = block.split(", ")
        name = f"{layers[layer]}.{kinds[kind]}"
        assert float(zgr) == float(f"{ZGR_BIAS[problem][name]:.2g}")
        assert float(st) == float(f"{RECORDED_BIAS[problem, 'st'][name]:.2g}")


def test_moments_page_has_the_recorded_biases_and_errors():
    networks = {"2-2-2-3": "two_hidden_layers", "2-3-3-3": "two_hidden_layers_real_weights"}
    layers = {"first layer": "layers.0", "second layer": "layers.1", "head": "head"}
    kinds = {"bias": "bias", "weights": "weight", "weight means": "weight_mean"}
    problem = ""
    table = rows("methods/moments.md", "| network | block | ap2 | st |")
    assert len(table) == 10
    for network, block, ap2, st in table:
        problem = networks[network.split(",")[0]] if network else problem
        layer, kind = block.split(", ")
        name = f"{layers[layer]}.{kinds[kind]}"
        assert float(ap2) == float(f"{MOMENTS_BIAS[problem][name]:.2g}")
        recorded = RECORDED_BIAS[problem, "st"].get(name)
        assert st == "exact" if recorded is None else float(st) == float(f"{recorded:.2g}")
    text = (DOCS / "methods" / "moments.md").read_text("utf-8")
    for noises in (("logistic", "triangular"), ("laplace", "uniform")):
        (error,) = {f"{ERROR_OF_STRETCHING[noise]:.3f}" for noise in noises}
        assert f"{error}\n(`{noises[0]}`" in text or f"{error} (`{noises[0]}`" in text


def test_relaxed_page_has_the_recorded_biases():
    header = "| estimator | temperature | bias | scale | weights | head's weights |"
    blocks = ("layers.0.bias", "layers.0.scale", "layers.0.weight", "head.weight")
    listed = {}
    for name, temperature, *values in rows("methods/relaxed.md", header):
        key = name.strip('`"'), None if temperature == "—" else float(temperature)
        listed[key] = {
            block: float(value)
            for block, value in zip(blocks, values, strict=True)
            if value != "exact"
        }
    assert listed == {
        key: {block: float(f"{bias[block]:.2g}") for block in blocks if block in bias}
        for key, bias in RELAXED_BIAS.items()
    }


def test_psa_page_has_the_recorded_biases_of_a_convolution():
    block_of = {"weight means": "w0", "bias": "bias0", "scale": "scale0"}
    listed: dict[str, dict[str, float]] = {"psa": {}, "st": {}}
    medians = {}
    page = "methods/path_sample_analytic.md"
    for block, *values in rows(page, "| block of the convolution | psa | st |"):
        for estimator, value in zip(("psa", "st"), values, strict=True):
            if "median of 50" in block:
                medians[estimator] = float(value)
            elif value != "exact":
                listed[estimator][block_of[block]] = float(value)
    for there, recorded in (
        (medians, RECORDED_MEDIAN),
        (listed["psa"], RECORDED_BIAS_OF_A_KERNEL["psa"]),
        (listed["st"], RECORDED_BIAS_OF_A_KERNEL["st"]),
    ):
        assert there == {key: float(f"{bias:.2g}") for key, bias in recorded.items()}


def test_psa_page_has_the_recorded_biases_of_max_pooling():
    networks = {
        "windows side by side, head": "pool_head",
        "windows side by side, one unit, head": "pool_one_unit_head",
        "windows side by side, two units, head": "pool_two_units_head",
        "windows that overlap (stride 1), head": "overlapping_pool_head",
    }
    page = "methods/path_sample_analytic.md"
    listed, network = set(), ""
    for first, block, psa, st in rows(page, "| pooled by | block | psa | st |"):
        network = networks[first] if first else network
        listed.add((network, block))
        for estimator, value in (("psa", psa), ("st", st)):
            recorded = RECORDED_BIAS_OF_MAX_POOLING.get((network, estimator), {})
            bias = recorded.get(block)
            assert value == "exact" if bias is None else float(value) == float(f"{bias:.2g}")
    assert listed == {(name, block) for name in networks.values() for block in ("kernel", "bias")}


def test_psa_page_has_the_recorded_biases_of_skips():
    blocks = {
        "first kernel": "kernel",
        "second kernel": "second",
        "scale of the skip": "skip",
        "first weights": "first",
        "second weights": "second",
        "third scale": "scale",
        "third weight means": "w",
    }
    page = "methods/path_sample_analytic.md"
    listed: dict[tuple[str, str], dict[str, float]] = {}
    names = iter(("skip", "residual"))
    name = ""
    for first, block, *values in rows(page, "| skip | block | psa | st |"):
        name = next(names) if first else name
        for estimator, value in zip(("psa", "st"), values, strict=True):
            if value != "exact":
                listed.setdefault((name, estimator), {})[blocks[block]] = float(value)
    assert listed == {
        (name, estimator): {block: float(f"{bias:.2g}") for block, bias in recorded.items()}
        for (name, estimator), recorded in RECORDED_BIAS_OF_STRUCTURE.items()
        if name in ("skip", "residual")
    }


def test_api_index_names_everything_public():
    text = (DOCS / "api" / "index.md").read_text("utf-8")
    named = set(re.findall(r"\bsbn\.(\w+)", text))
    assert named == set(sbn.__all__) - {"__version__"}


def test_what_the_limits_page_offers_instead_exists():
    table = rows("limits.md", "| | what works instead |")
    offered = [name for _, instead in table for name in re.findall(r"`sbn((?:\.\w+)+)", instead)]
    assert len(offered) >= 3
    for name in offered:
        found = sbn
        for part in name.split(".")[1:]:
            found = getattr(found, part)


def test_what_there_is_is_not_said_to_be_missing():
    table = rows("limits.md", "| | what works instead |")
    for name in ("to_arviz", "diagnose"):
        assert not any(f"`sbn.{name}`" in missing for missing, _ in table)
