"""Explanation maps on the page: overlays of images, and tables of how faithful the maps are."""
