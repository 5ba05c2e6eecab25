"""The entries of `systems`: one module a kind, and their union."""
