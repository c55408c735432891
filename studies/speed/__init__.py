"""Ratios of times and memory, measured in one process against the strongest rivals."""
