"""Where this package lies."""

from pathlib import Path

PACKAGE = "workflow_scripts"
ROOT = Path(__file__).resolve().parents[2]
"""The checkout, or the folder that the package is installed in."""
