"""How large the bias of the relaxed estimators is, on one network: recorded numbers.

The expectation is over all uniforms, by Gauss's rule, with as many nodes as a further one does not
change.  Straight-through and its trapezoid are beside them, on the same network.
"""

import numpy as np
import pytest

from bayes_sbn.estimators import Concrete, GumbelStraightThrough, ImportanceStraightThrough
from tests.estimators.test_exact_expectation import lean, network
from tests.oracle_estimators import relative_bias
from tests.oracles import exact_gradient
from tests.uniform_cells import expected_gradient_over_uniforms

ESTIMATORS = {
    ("st", None): "st",
    ("zgr", None): "zgr",
    ("importance_st", None): ImportanceStraightThrough(),
    **{("concrete", t): Concrete(temperature=t) for t in (1.0, 0.5, 0.1)},
    **{("gumbel_st", t): GumbelStraightThrough(temperature=t) for t in (1.0, 0.5, 0.1)},
}
NODES = {None: 12, 1.0: 16, 0.5: 20, 0.1: 36}

# Relative bias of each block in the 2-3-3 network with real weights, one datum, logistic noise.
# Estimators whose draws are ±1 have the exact gradient of the head.
RECORDED_BIAS: dict[tuple[str, float | None], dict[str, float]] = {
    ("st", None): {
        "layers.0.scale": 0.147792601,
        "layers.0.bias": 0.205848403,
        "layers.0.weight": 0.33065421,
    },
    ("zgr", None): {
        "layers.0.scale": 0.115076934,
        "layers.0.bias": 0.116266878,
        "layers.0.weight": 0.118287139,
    },
    ("importance_st", None): {
        "layers.0.scale": 0.0756590155,
        "layers.0.bias": 0.0976278557,
        "layers.0.weight": 0.139072817,
        "head.scale": 0.560351837,
        "head.bias": 0.127727239,
        "head.weight": 0.554908125,
    },
    ("concrete", 1.0): {
        "layers.0.scale": 0.170224256,
        "layers.0.bias": 0.171448828,
        "layers.0.weight": 0.174826063,
        "head.scale": 0.414446528,
        "head.bias": 0.0416909605,
        "head.weight": 0.390682515,
    },
    ("concrete", 0.5): {
        "layers.0.scale": 0.0406708466,
        "layers.0.bias": 0.0641103649,
        "layers.0.weight": 0.110048259,
        "head.scale": 0.207284758,
        "head.bias": 0.0143391017,
        "head.weight": 0.188112161,
    },
    ("concrete", 0.1): {
        "layers.0.scale": 0.0170320334,
        "layers.0.bias": 0.023495716,
        "layers.0.weight": 0.0375501585,
        "head.scale": 0.0346136568,
        "head.bias": 0.0107850871,
        "head.weight": 0.0303773742,
    },
    ("gumbel_st", 1.0): {
        "layers.0.scale": 0.190397706,
        "layers.0.bias": 0.202622184,
        "layers.0.weight": 0.236280916,
    },
    ("gumbel_st", 0.5): {
        "layers.0.scale": 0.0847542324,
        "layers.0.bias": 0.108308541,
        "layers.0.weight": 0.16356776,
    },
    ("gumbel_st", 0.1): {
        "layers.0.scale": 0.0886563096,
        "layers.0.bias": 0.091036226,
        "layers.0.weight": 0.0981277053,
    },
}


@pytest.mark.parametrize(("name", "temperature"), ESTIMATORS)
def test_bias_is_the_recorded_one(name, temperature):
    net = network("one_hidden_layer_real_weights", num_data=1)
    exact = {k: -g for k, g in exact_gradient(net.net, net.problem.x, net.problem.y).items()}
    chosen = lean(ESTIMATORS[name, temperature], weight_kl=False)
    _, found = expected_gradient_over_uniforms(net, chosen, nodes=NODES[temperature])
    recorded = RECORDED_BIAS[name, temperature]
    for block, value in relative_bias(found, exact).items():
        assert value == pytest.approx(recorded.get(block, 0.0), rel=1e-5, abs=1e-10), block


def test_bias_of_concrete_goes_down_with_the_temperature_and_that_of_gumbel_towards_zgr():
    def gap(name, temperature, other=None):
        value = np.array(list(RECORDED_BIAS[name, temperature].values()))
        return np.abs(value if other is None else value - list(RECORDED_BIAS[other, None].values()))

    assert (gap("concrete", 1.0) > gap("concrete", 0.5)).all()
    assert (gap("concrete", 0.5) > gap("concrete", 0.1)).all()
    assert (gap("gumbel_st", 1.0, "zgr") > gap("gumbel_st", 0.1, "zgr")).all()
