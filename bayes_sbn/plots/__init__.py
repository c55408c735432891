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
from bayes_sbn.plots.reliability import reliability_diagram as reliability_diagram
from bayes_sbn.plots.summary import summary_figure as summary_figure
from bayes_sbn.plots.uncertain_inputs import most_uncertain as most_uncertain

__all__ = ["most_uncertain", "new_figure", "reliability_diagram", "summary_figure"]
