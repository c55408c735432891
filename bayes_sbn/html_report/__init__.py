"""A fitted network's report as one HTML file: what it knows, how well, and how it came about."""

from bayes_sbn.html_report.write import HTMLReport as HTMLReport
from bayes_sbn.html_report.write import report as report

__all__ = ["HTMLReport", "report"]
