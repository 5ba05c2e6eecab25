"""What every parser of a judge's reply shares: the bounds of a reply, and the fault that it is not a judgement."""

LONGEST = 200_000
"""Characters of a reply; no judgement is longer."""

MOST = 100
"""Findings or errors of one kind in a report; more is a slip of the judge."""


class InvalidJudgement(ValueError):
    """A judge's reply is not a judgement; the message names the first fault."""
