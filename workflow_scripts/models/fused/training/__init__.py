"""Adapted projections, gated units, attention and whole stacks of layers for training adapters on a GPU."""
