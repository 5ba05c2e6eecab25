"""Series as text: a template of name, unit, rate and values, decimated and cut as the configuration says."""

from collections.abc import Sequence

import numpy as np

from workflow_scripts.core.config.sources.series import SeriesText
from workflow_scripts.data.signals.decimation import TAPS, decimated, factor_for
from workflow_scripts.data.signals.series import BadSeries, Series, Values


def question_with(question: str, series: Sequence[Series], how: SeriesText) -> str:
    """The question with its series, one a line.

    Raises:
        BadSeries: a text is needed of what a series has not.
    """
    written = "\n".join(series_text(one, how) for one in series)
    return how.layout.format(question=question, series=written)


def series_text(series: Series, how: SeriesText) -> str:
    """One series by the template; a sentence follows where it was cut.

    Raises:
        BadSeries: the template names the rate or the seconds of a series that has none.
    """
    factor = how.factor or (factor_for(len(series.values), how.points) if how.points else 1)
    values = decimated(series.values, factor, how.filter)
    shown = values if how.most is None else values[: how.most]
    places = {
        "name": series.name,
        "unit": series.unit,
        "count": str(len(shown)),
        "total": str(len(series.values)),
        "factor": str(factor),
        "filter": filter_text(factor, how.filter),
        "values": numbers_text(shown, how.decimals, how.separator),
    }
    hz = None if series.hz is None else series.hz / factor
    text = _filled(how.template, places | _timed(hz, seconds=len(shown)), series)
    if len(shown) == len(values):
        return text
    places = {"shown": str(len(shown)), "total": str(len(values))}
    sentence = _filled(how.cut, places | _timed(hz, seconds=len(shown), of_seconds=len(values)), series)
    return f"{text} {sentence}"


def _timed(hz: float | None, **counts: int) -> dict[str, str]:
    """The rate, and how long so many values last; nothing where there is no rate."""
    if hz is None:
        return {}
    return {"hz": f"{hz:.6g}", **{name: f"{count / hz:.6g}" for name, count in counts.items()}}


def _filled(template: str, places: dict[str, str], series: Series) -> str:
    try:
        return template.format(**places)
    except KeyError as error:
        raise BadSeries(
            "bad_rate", f"the template names {{{error.args[0]}}}, and {series.name} has no rate; give `hz`"
        ) from None


def numbers_text(values: Values, decimals: int, separator: str) -> str:
    """The values with so many decimals, rounded half to even, and no minus before a zero."""
    rounded = np.round(values, decimals) + 0.0  # -0.0 + 0.0 is 0.0
    form = separator.replace("%", "%%").join([f"%.{decimals}f"] * len(rounded))
    return form % tuple(rounded.tolist())


def filter_text(factor: int, low_pass: str) -> str:
    """What was done before decimation, in words."""
    if factor == 1:
        return "not decimated"
    if low_pass == "none":
        return f"every {factor}th value, without a filter"
    return f"every {factor}th value after a low pass of {TAPS * factor + 1} taps"
