"""flarebench: what the rules call, and what it stands on."""

from pathlib import Path

PACKAGE = "workflow_scripts"
ROOT = Path(__file__).resolve().parents[1]
"""The checkout, or the folder that the package is installed in."""
