"""Families by name: a family's module is imported when a model of it is loaded, and no other.

A step's fingerprint counts the module of the family that it works with, see `cache.fingerprints`.
"""

from importlib import import_module

from workflow_scripts.models.families.family import Family


def load_family(name: str) -> Family:
    """The family of this name: `FAMILY` of the module that is called so.

    Raises:
        ModuleNotFoundError: there is none; the configuration knows which there are.
    """
    family: Family = import_module(f"workflow_scripts.models.families.{name}").FAMILY
    return family
