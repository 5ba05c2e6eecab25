"""A methods section for a paper, from the configuration and the sidecars of the results."""
