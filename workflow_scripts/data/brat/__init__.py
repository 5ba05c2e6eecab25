"""Texts with annotations beside them in brat's standoff format."""
