"""Figures of predictions, posteriors and fits.

Everything is drawn on ``matplotlib.figure.Figure`` objects with an Agg canvas: no global pyplot
state, no display.  A figure is written by ``figure.savefig("name.png")``; that of axes is
``ax.figure``.  matplotlib is imported when something is drawn.
"""

from bayes_sbn.plots.canvas import BLUE as BLUE
from bayes_sbn.plots.canvas import GREY as GREY
from bayes_sbn.plots.canvas import INK as INK
from bayes_sbn.plots.canvas import ORANGE as ORANGE
from bayes_sbn.plots.canvas import VERMILLION as VERMILLION
from bayes_sbn.plots.canvas import new_figure as new_figure
from bayes_sbn.plots.confidence import confidence_histogram as confidence_histogram
from bayes_sbn.plots.decision_surface import decision_surface as decision_surface
from bayes_sbn.plots.draws import score_against_draws as score_against_draws
from bayes_sbn.plots.fit_trace import fit_trace as fit_trace
from bayes_sbn.plots.isotonic import isotonic_reliability as isotonic_reliability
from bayes_sbn.plots.out_of_distribution import ood_histogram as ood_histogram
from bayes_sbn.plots.pit import pit_histogram as pit_histogram
from bayes_sbn.plots.regression_band import regression_band as regression_band
from bayes_sbn.plots.reliability import reliability_diagram as reliability_diagram
from bayes_sbn.plots.risk_coverage import risk_coverage as risk_coverage
from bayes_sbn.plots.sign_certainty import sign_certainty as sign_certainty
from bayes_sbn.plots.summary import summary_figure as summary_figure
from bayes_sbn.plots.target_against_prediction import (
    target_against_prediction as target_against_prediction,
)
from bayes_sbn.plots.uncertain_inputs import most_uncertain as most_uncertain

__all__ = [
    "confidence_histogram",
    "decision_surface",
    "fit_trace",
    "isotonic_reliability",
    "most_uncertain",
    "new_figure",
    "ood_histogram",
    "pit_histogram",
    "regression_band",
    "reliability_diagram",
    "risk_coverage",
    "score_against_draws",
    "sign_certainty",
    "summary_figure",
    "target_against_prediction",
]
