"""Gradient accuracy against enumeration, as in the PSA paper."""
