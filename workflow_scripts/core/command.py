"""Running a step from the command line: a known failure is one sentence and exit code 1, never a traceback.

A full or read-only disk is a known failure too, whichever library met it.
"""

import sys
from collections.abc import Callable

from safetensors import SafetensorError

from workflow_scripts.core.files import BadFile, disk_fault


class Refused(Exception):
    """A step cannot do its work; the message says why and what to do."""


def run_step(main: Callable[[], None]) -> None:
    """Call `main`; print a known failure as one sentence."""
    try:
        main()
    except (Refused, BadFile) as error:
        _stop(error)
    except (OSError, SafetensorError, RuntimeError) as error:
        if (fault := disk_fault(error)) is None:
            raise
        _stop(fault)


def _stop(said: object) -> None:
    print(f"error: {said}", file=sys.stderr)
    sys.exit(1)
