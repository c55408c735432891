"""Methods for ±1 weights, compared on three small data sets."""
