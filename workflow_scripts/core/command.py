"""Running a step from the command line: a known failure is one sentence and exit code 1, never a traceback."""

import sys
from collections.abc import Callable

from workflow_scripts.core.files import BadFile


class Refused(Exception):
    """A step cannot do its work; the message says why and what to do."""


def run_step(main: Callable[[], None]) -> None:
    """Call `main`; print a known failure as one sentence."""
    try:
        main()
    except (Refused, BadFile) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
