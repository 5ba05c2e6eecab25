"""The entries of `datasets` that are no FLARE-shaped folders: one module a kind of source."""
