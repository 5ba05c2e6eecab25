"""Tiny random checkpoints of each family, in its real classes: `build(folder)` of the module with its name."""
