"""A series of values with its name, unit and rate, and what is wrong with one that cannot be used."""

import re
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

UNITS = {
    "1": ("", "none", "ratio"),
    "au": ("a.u.", "arb. unit", "arbitrary", "adu", "nu", "normalized"),
    "FS": ("full scale",),
    "V": ("volt",),
    "mV": ("millivolt",),
    "µV": ("uv", "μv", "microvolt"),
    "s": ("sec", "second", "seconds"),
    "ms": ("msec", "millisecond", "milliseconds"),
    "min": ("minute", "minutes"),
    "h": ("hour", "hours"),
    "bpm": ("beats/min", "beats per minute", "/min", "1/min"),
    "breaths/min": ("brpm", "breaths per minute"),
    "Hz": ("hertz",),
    "mmHg": ("mm[hg]", "mm hg"),
    "kPa": (),
    "Pa": ("pascal",),
    "cmH2O": ("cm[h2o]",),
    "%": ("percent",),
    "°C": ("c", "cel", "degc", "deg c", "celsius"),
    "°F": ("f", "degf", "[degf]"),
    "g": ("g0", "[g]"),
    "m/s²": ("m/s2", "m/s^2"),
    "°/s": ("deg/s", "dps"),
    "rad/s": (),
    "µS": ("μs", "microsiemens"),
    "L/min": ("l/min",),
    "L": ("litre", "liter", "litres", "liters"),
    "mL": ("millilitre", "milliliter"),
    "mg/dL": (),
    "mmol/L": (),
    "m": ("metre", "meter", "metres", "meters"),
    "km": ("kilometre", "kilometer", "kilometres", "kilometers"),
    "m/s": (),
    "km/h": ("kph",),
    "kg": ("kilogram", "kilograms"),
    "steps": ("step",),
    "kcal": ("calories", "cal"),
    "METs": ("met",),
    "W": ("watt",),
    "count": ("counts", "n"),
    "score": ("points",),
}
"""Units that are known, each with other ways to write it, in lower case."""

_CASED = {unit: unit for unit in UNITS}
_FOLDED = {word: unit for unit, words in UNITS.items() for word in (unit.casefold(), *words)}

LONGEST_NAME = 60
"""Characters of the name of a series; a longer one is a sentence."""


class BadSeries(Exception):
    """A series cannot be used; `reason` is one of `data.conversion.reasons`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class Series:
    """Values at equal distances in time, or in an order alone."""

    name: str
    unit: str  # one of `UNITS`
    hz: float | None  # values a second; None where they have no rate, as intervals between beats
    values: Values  # (values,)

    @property
    def seconds(self) -> float | None:
        """How long it lasts; None where it has no rate."""
        return None if self.hz is None else len(self.values) / self.hz


def unit_of(written: str, name: str) -> str:
    """The unit as it is written here.

    Raises:
        BadSeries: it is none that is known.
    """
    text = written.strip()
    unit = _CASED.get(text) or _FOLDED.get(text.casefold())
    if unit is None:
        raise BadSeries(
            "unknown_unit", f"the unit of {name} is {text[:40]!r}; expected one of {', '.join(UNITS)}; au is arbitrary"
        )
    return unit


def checked(name: str, unit: str | None, hz: float | None, values: npt.ArrayLike, most: int) -> Series:
    """A series whose values are finite and whose unit and rate can be; see `BadSeries`.

    Args:
        unit: as it is written; None where nothing says it.
        hz: values a second; None for values in an order alone.
        values: numbers.
        most: values that it may have.

    Raises:
        BadSeries: it is not so.
    """
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME or re.search(r"[\x00-\x1f{}]", name):
        raise BadSeries("bad_cell", f"the series is called {name[:80]!r}; expected up to {LONGEST_NAME} characters")
    array = _numbers(name, values)
    if not len(array):
        raise BadSeries("no_values", f"{name} has no values")
    if len(array) > most:
        raise BadSeries("too_many_values", f"{name} has {len(array)} values, of {most} at most (`most_values`)")
    if not np.isfinite(array).all():
        place = int(np.argmin(np.isfinite(array)))
        what = "not a number" if np.isnan(array[place]) else "infinite"
        count = int((~np.isfinite(array)).sum())
        raise BadSeries("not_finite", f"{count} values of {name} are not finite; the first, {place}, is {what}")
    if unit is None:
        raise BadSeries("unknown_unit", f"nothing says the unit of {name}; give `unit`, au where it is arbitrary")
    if hz is not None and not (np.isfinite(hz) and hz > 0):
        raise BadSeries("bad_rate", f"the rate of {name} is {hz:g} values a second; expected more than 0")
    return Series(name, unit_of(unit, name), None if hz is None else float(hz), array)


def _numbers(name: str, values: npt.ArrayLike) -> Values:
    try:
        array = np.asarray(values)
        if array.dtype.kind in "OUSbcV":
            if array.dtype.kind == "O":  # null among numbers is a value that is missing
                array = np.array([np.nan if value is None else value for value in array.ravel()], dtype=np.float64)
            else:
                raise ValueError(f"values of the kind {array.dtype}")
        array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadSeries("not_numbers", f"{name} holds other things than numbers: {str(error)[:120]}") from None
    if array.ndim != 1:
        raise BadSeries("not_numbers", f"{name} has {array.ndim} dimensions; expected a list of numbers")
    return array


EVEN = 1.5
"""Steps of times, over their median, from which on values are missing; jitter of a clock stays below."""


def rate_of_times(name: str, times: Values) -> float:
    """Values a second, by their times in seconds.

    Raises:
        BadSeries: the times do not rise, or not in even steps.
    """
    if len(times) < 2:
        raise BadSeries("times_not_rising", f"{name} has {len(times)} times; expected two or more")
    if not np.isfinite(times).all():
        raise BadSeries("times_not_rising", f"a time of {name} is not a number")
    steps = np.diff(times)
    if (wrong := int(np.argmax(steps <= 0))) or steps[0] <= 0:
        raise BadSeries("times_not_rising", f"time {wrong + 1} of {name} is not after time {wrong}")
    if steps.max() > EVEN * float(np.median(steps)):
        place = int(np.argmax(steps))
        raise BadSeries(
            "uneven_times",
            f"{steps[place]:.3g} s lie between times {place} and {place + 1} of {name}, and {np.median(steps):.3g} s "
            "between most; take parts without gaps by `start` and `stop`, or resample the series",
        )
    return (len(times) - 1) / float(times[-1] - times[0])


def part_of(series: Series, start: float | None, stop: float | None) -> Series:
    """The values from `start` to before `stop`, in seconds.

    Raises:
        BadSeries: the series has no rate, or the part is not inside it.
    """
    if start is None and stop is None:
        return series
    if series.hz is None or series.seconds is None:
        raise BadSeries("bad_rate", f"`start` and `stop` are seconds, and {series.name} has no rate; give `hz`")
    begin = 0.0 if start is None else start
    end = series.seconds if stop is None else stop
    if not 0 <= begin < end or begin >= series.seconds or end > series.seconds + 1 / series.hz:
        raise BadSeries(
            "no_values", f"the part from {begin:g} to {end:g} s is not inside {series.name}, of {series.seconds:g} s"
        )
    first, last = round(begin * series.hz), round(end * series.hz)
    return replace(series, values=series.values[first:last])
