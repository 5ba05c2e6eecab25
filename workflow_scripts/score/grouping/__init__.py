"""Metrics by the values of a group, their resamples and permutations, and gaps between them."""
