"""Volumes: stacks of axial slices, which of them are shown, and how their values become colours."""
