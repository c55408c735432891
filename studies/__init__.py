"""Measurements of what the package claims, one folder a claim; they use its public names only."""
