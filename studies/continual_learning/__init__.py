"""Permuted digits, one permutation after another."""
