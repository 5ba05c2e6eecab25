"""Explanation maps: where tokens lie in an image, and the rows of their tables."""
