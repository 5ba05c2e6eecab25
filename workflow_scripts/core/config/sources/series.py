"""A table whose rows hold signals: pulse waves, ECG, heart and lung sounds, intervals between beats, daily values."""

import re
import string
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from workflow_scripts.core.config.section import Section
from workflow_scripts.core.config.sources.cells import Cell, ColumnCell, TextCell
from workflow_scripts.core.config.sources.presets import SIGNAL_PRESETS, SignalPreset
from workflow_scripts.core.config.sources.table import TableDataset, TableImage

PARTS_OF_TEXT = ("name", "unit", "hz", "count", "total", "factor", "seconds", "filter", "values")
"""What the template of a text may name."""

PARTS_OF_CUT = ("shown", "total", "seconds", "of_seconds")
"""What the sentence of a series that is cut may name."""

PARTS_OF_QUESTION = ("question", "series")
"""What the layout of a question may name."""

CHANNEL_NUMBER = re.compile(r"[0-9]{1,4}")
"""A channel by its number, from 0."""

Number = Annotated[float, Field(allow_inf_nan=False)] | ColumnCell
"""A number that all rows have, or a column of numbers."""


def _checked(text: str, places: tuple[str, ...], needed: str | None) -> str:
    """A template whose places are known; raises ValueError."""
    listed = ", ".join(f"{{{place}}}" for place in places)
    try:
        named = [(name, form, turn) for _, name, form, turn in string.Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise ValueError(f"{text!r} is no template ({error}); a brace is written twice") from None
    for name, form, turn in named:
        if name not in places or form or turn:
            raise ValueError(f"{text!r} names {{{name}}}; allowed: {listed}, without a format")
    if needed is not None and needed not in {name for name, _, _ in named}:
        raise ValueError(f"{text!r} lacks {{{needed}}}; allowed: {listed}")
    return text


class SeriesColumns(Section):
    """One series of a row, or the several of a file or a list: where its values, name, unit and rate are."""

    values: ColumnCell | None = Field(
        None, description="Column of the values: a list, or a text of numbers parted by commas, semicolons or blanks."
    )
    record: str | None = Field(
        None, description="Instead: column of an object {name, unit, hz, values}, or of a list of such objects."
    )
    file: ColumnCell | None = Field(
        None,
        description='Instead: path of a file ("{id}.wav"), from the folders of `images_in`: CSV, NPY, NPZ, WAV, '
        "the header of a WFDB record (.hea), or a DICOM waveform.",
    )
    name: TextCell | None = Field(None, description="What the series is called; null: what the file or object says.")
    unit: TextCell | None = Field(
        None, description="Unit of the values (mV, ms, bpm, …; au: arbitrary); null: what the file or object says."
    )
    hz: Number | None = Field(
        None,
        description="Values a second; null: what the file says, or else none, as of intervals between beats.",
    )
    channels: tuple[str, ...] = Field(
        (), description="Of a file of several channels, those to take, by name or by number from 0; empty: all."
    )
    times: str | None = Field(
        None,
        description="Of values, the column of their times; of a CSV or NPZ file, its column or array: numbers, or "
        "dates with times. The rate follows from it, and it must rise in even steps.",
    )
    times_in: Literal["s", "ms"] = Field("s", description="Unit of times that are numbers.")
    start: Number | None = Field(None, description="Seconds into the series at which the part to show begins.")
    stop: Number | None = Field(None, description="Seconds into it at which the part ends; null: its end.")

    @model_validator(mode="after")
    def _one_place(self) -> "SeriesColumns":
        given = [key for key in ("values", "record", "file") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"name one of `values`, `record` and `file`; {' and '.join(given) or 'none'} is given")
        if self.channels and self.file is None:
            raise ValueError("`channels` are those of a `file`")
        if self.times is not None and self.hz is not None:
            raise ValueError("`hz` follows from `times`; give one of the two")
        if self.times is not None and self.record is not None:
            raise ValueError("`times` are of `values` or of a `file`")
        return self

    def cells(self) -> dict[str, Cell]:
        """The cells that are read of a row, by their key."""
        keys = ("values", "file", "name", "unit", "hz", "start", "stop")
        return {key: cell for key in keys if isinstance(cell := getattr(self, key), Cell)}

    def columns(self) -> dict[str, list[tuple[str, ...]]]:
        """The columns that are read, each with its other names, by the key that names them."""
        named = {key: cell.columns() for key, cell in self.cells().items()}
        named["record"] = [(self.record,)] if self.record else []
        named["times"] = [(self.times,)] if self.times and self.values is not None else []
        return named


class SeriesText(Section):
    """Signals as text before, after or inside the question."""

    form: Literal["text"] = "text"
    template: str = Field(
        "{name} ({unit}, {hz} values a second): {values}",
        description="Of one series. Places: {name}, {unit}, {hz} of the values as they are written, {count} of them, "
        "{total} before decimation and cutting, {factor} of decimation, {seconds} shown, {filter}, {values}.",
    )
    layout: str = Field(
        "{question}\n{series}", description="Of the question; {series} stands for all series, one a line."
    )
    decimals: int = Field(2, ge=0, le=9, description="Of a value.")
    separator: str = Field(",", min_length=1, max_length=8, description="Between values.")
    factor: int | None = Field(None, ge=1, le=10_000, description="One of so many values is written.")
    points: int | None = Field(
        None, ge=2, description="Instead: the least factor with which at most so many values are written."
    )
    filter: Literal["fir", "none"] = Field(
        "fir",
        description="Before decimation. fir: a low pass of 20 × factor + 1 taps (Hamming window) at half the new rate, "
        "without delay. none: values are left out as they stand.",
    )
    most: int | None = Field(500, ge=1, description="Values that are written at most; null: all.")
    cut: str = Field(
        "(The first {shown} of {total} values are shown.)",
        min_length=1,
        description="What follows a series that was cut: {shown} and {total} count values after decimation, {seconds} "
        "and {of_seconds} seconds.",
    )

    @field_validator("template")
    @classmethod
    def _template(cls, text: str) -> str:
        return _checked(text, PARTS_OF_TEXT, "values")

    @field_validator("layout")
    @classmethod
    def _layout(cls, text: str) -> str:
        return _checked(text, PARTS_OF_QUESTION, "series")

    @field_validator("cut")
    @classmethod
    def _cut(cls, text: str) -> str:
        return _checked(text, PARTS_OF_CUT, None)

    @model_validator(mode="after")
    def _one_decimation(self) -> "SeriesText":
        if self.factor is not None and self.points is not None:
            raise ValueError("`factor` and `points` both say how many values are left out; give one")
        return self


class SeriesPlot(Section):
    """Signals as a drawing, one image a row."""

    form: Literal["plot"] = "plot"
    paper: Literal["plain", "ecg"] = Field(
        "plain", description="ecg: the grid of ECG paper, 25 mm a second and 10 mm a millivolt."
    )
    layout: Literal["rows", "3x4"] = Field(
        "rows",
        description="rows: one series below the other. 3x4: twelve leads in three rows of four, a quarter of the time "
        "each, with lead II below in full; of ECG paper alone.",
    )
    width: int = Field(896, ge=128, le=4096, description="Of the image, in pixels; ECG paper follows from the time.")
    height: int = Field(180, ge=48, le=2048, description="Of one series, in pixels.")
    pixels_a_millimetre: int = Field(4, ge=2, le=16, description="Of ECG paper.")

    @model_validator(mode="after")
    def _of_paper(self) -> "SeriesPlot":
        if self.layout == "3x4" and self.paper != "ecg":
            raise ValueError("the layout 3x4 is one of ECG paper; set `paper: ecg`")
        return self


class SeriesSpectrogram(Section):
    """Sounds as log-mel spectrograms, one image a series."""

    form: Literal["spectrogram"] = "spectrogram"
    mel: Literal["slaney", "htk"] = Field(
        "slaney",
        description="Scale of the bands. slaney: linear to 1,000 Hz, then logarithmic (Auditory Toolbox). htk: "
        "2595 log10(1 + f / 700).",
    )
    bands: int = Field(64, ge=4, le=512, description="Mel bands: rows of the spectrogram.")
    window: float = Field(0.064, gt=0, le=10, description="Seconds of a frame, under a Hann window.")
    hop: float = Field(0.016, gt=0, le=10, description="Seconds between the centres of two frames.")
    low: float = Field(20.0, ge=0, description="Least frequency in Hz.")
    high: float | None = Field(None, gt=0, description="Greatest frequency in Hz; null: half of the series' rate.")
    decibels: float = Field(80.0, gt=0, le=200, description="Below the loudest value, what is drawn black and less.")
    width: int = Field(896, ge=64, le=4096, description="Of the spectrogram, in pixels.")
    height: int = Field(448, ge=64, le=4096, description="Of the spectrogram, in pixels.")
    axes: bool = Field(True, description="Whether seconds and Hz stand beside it.")

    @model_validator(mode="after")
    def _ordered(self) -> "SeriesSpectrogram":
        if self.high is not None and self.high <= self.low:
            raise ValueError(f"`high` ({self.high:g} Hz) must be above `low` ({self.low:g} Hz)")
        return self


def _alone(given: Any) -> Any:
    """One series without a list."""
    return [given] if isinstance(given, dict) else given


def _form(given: Any) -> Any:
    """A form without its keys."""
    return {"form": given} if isinstance(given, str) else given


Rendering = Annotated[SeriesText | SeriesPlot | SeriesSpectrogram, Field(discriminator="form")]
"""How signals are shown to a model."""

Form = Literal["text", "plot", "spectrogram"]


class SignalsDataset(TableDataset):
    """A table of questions or labels whose rows hold signals, shown as text, as a plot or as spectrograms.

    The keys of `table` are here too.
    """

    presets: ClassVar[tuple[str, ...]] = SIGNAL_PRESETS
    source: Literal["signals"] = "signals"  # type: ignore[assignment]
    preset: SignalPreset | None = Field(  # type: ignore[assignment]
        None, description="A published layout whose keys are known; what is set here goes first."
    )
    images: tuple[TableImage, ...] = Field((), description="Images of a row beside its signals; none by default.")
    series: Annotated[
        tuple[SeriesColumns, ...],
        BeforeValidator(_alone, json_schema_input_type=SeriesColumns | tuple[SeriesColumns, ...]),
    ] = Field(
        min_length=1,
        description="The series of a row, in their order; one alone needs no list.",
    )
    rendering: Annotated[Rendering, BeforeValidator(_form, json_schema_input_type=Form | Rendering)] = Field(
        SeriesText(), description="How series are shown: text, plot or spectrogram, or a mapping with this as `form`."
    )
    most_values: int = Field(
        10_000_000, ge=1, description="Values of a series as it is read; a longer one goes to quarantine."
    )

    @model_validator(mode="after")
    def _without_joined_images(self) -> "SignalsDataset":
        if self.study is not None:
            raise ValueError("`study` joins images of several rows; signals of several rows are not joined")
        if self.mark_shared_images:
            raise ValueError("`mark_shared_images` compares images that the table names; leave it out")
        return self

    @property
    def reads_files(self) -> bool:
        """Whether signals lie in files beside the table."""
        return any(series.file is not None for series in self.series)

    def columns(self) -> dict[str, list[tuple[str, ...]]]:
        """The columns that are read, those of the series among them."""
        named = {f"series.{n}.{key}": of for n, part in enumerate(self.series) for key, of in part.columns().items()}
        return super().columns() | {key: columns for key, columns in named.items() if columns}
