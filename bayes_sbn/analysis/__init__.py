"""Posteriors looked into: export to ArviZ.  Importing this loads neither torch nor Pyro."""

from bayes_sbn.analysis.arviz_export import to_arviz as to_arviz

__all__ = ["to_arviz"]
