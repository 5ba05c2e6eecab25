"""Signals of rows: read from cells and files, checked, and shown as text, plots and spectrograms."""
