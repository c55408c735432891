"""Gradient estimators for ±1 sites, each in a file of its own, registered by name."""

from bayes_sbn.estimators.arm import ARM
from bayes_sbn.estimators.arms import ARMS
from bayes_sbn.estimators.bayes_binn import BayesBiNN
from bayes_sbn.estimators.bitflip import BitFlip1
from bayes_sbn.estimators.concrete import Concrete
from bayes_sbn.estimators.decoupled_straight_through import DecoupledStraightThrough
from bayes_sbn.estimators.disarm import DisARM
from bayes_sbn.estimators.estimator import (
    Estimator,
    Rerun,
    Site,
    Soften,
    get_estimator,
    register_estimator,
    table,
)
from bayes_sbn.estimators.estimator_set import EstimatorSet
from bayes_sbn.estimators.exact import Exact
from bayes_sbn.estimators.gumbel_rao import GumbelRao
from bayes_sbn.estimators.gumbel_straight_through import GumbelStraightThrough
from bayes_sbn.estimators.importance_straight_through import ImportanceStraightThrough
from bayes_sbn.estimators.leave_one_out import LeaveOneOut
from bayes_sbn.estimators.local_expectation import LocalExpectation
from bayes_sbn.estimators.local_reparametrisation import LocalReparametrisation
from bayes_sbn.estimators.mean_weights import MeanWeights
from bayes_sbn.estimators.moment_propagation import MomentPropagation
from bayes_sbn.estimators.muprop import MuProp
from bayes_sbn.estimators.path_sample_analytic import PathSampleAnalytic
from bayes_sbn.estimators.rebar import Rebar
from bayes_sbn.estimators.relax import Relax
from bayes_sbn.estimators.score_function import ScoreFunction
from bayes_sbn.estimators.straight_through import StraightThrough, straight_through
from bayes_sbn.estimators.trapezoid_straight_through import (
    TrapezoidStraightThrough,
    trapezoid_straight_through,
)
from bayes_sbn.estimators.ugc import UGC

__all__ = [
    "ARM",
    "ARMS",
    "UGC",
    "BayesBiNN",
    "BitFlip1",
    "Concrete",
    "DecoupledStraightThrough",
    "DisARM",
    "Estimator",
    "EstimatorSet",
    "Exact",
    "GumbelRao",
    "GumbelStraightThrough",
    "ImportanceStraightThrough",
    "LeaveOneOut",
    "LocalExpectation",
    "LocalReparametrisation",
    "MeanWeights",
    "MomentPropagation",
    "MuProp",
    "PathSampleAnalytic",
    "Rebar",
    "Relax",
    "Rerun",
    "ScoreFunction",
    "Site",
    "Soften",
    "StraightThrough",
    "TrapezoidStraightThrough",
    "get_estimator",
    "register_estimator",
    "straight_through",
    "table",
    "trapezoid_straight_through",
]
