"""A task that takes its process along; in a module that imports little, since each process imports it."""

import os


def times_ten(number: int) -> int:
    """Ten times a number; of 3 the process dies."""
    if number == 3:
        os._exit(11)
    return number * 10
