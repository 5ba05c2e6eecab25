"""Layers of language models with fewer passes over memory, forward and backward; the sums are the model's own."""
