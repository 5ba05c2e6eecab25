"""How a value of a row is written in a configuration: a text, a column, or a column whose values stand for others."""

import re
from typing import Any

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue

from workflow_scripts.core.config.section import Section

PLACE = re.compile(r"\{\{|\}\}|\{([^{}]+?)(?::\.(\d+))?\}")
"""A column in a text: `{COLUMN}`, `{COLUMN:.2}` for its first two characters; doubled braces are braces."""


class Cell(Section):
    """A value of a row: a text with columns in it, or a column."""

    text: str | None = Field(
        None, description="A text; {COLUMN} stands for a column's value, {COLUMN:.2} for its first two characters."
    )
    column: str | tuple[str, ...] | None = Field(
        None, description="The column; of several the first that the table has."
    )
    pattern: str | None = Field(None, description="Regular expression whose first group is the value.")
    bands: tuple[float, ...] = Field((), description="Limits between bands of a number: [18, 65] gives three.")
    values: dict[str, str] = Field({}, description="What values stand for, in whatever letter case.")
    otherwise: str | None = Field(
        None,
        description="What values that `values` does not list stand for; null: the row "
        "goes to quarantine (of a group: the group is left out).",
    )

    @model_validator(mode="after")
    def _one_origin(self) -> "Cell":
        if (self.text is None) == (self.column is None):
            raise ValueError("name a `column`, or give a `text`")
        if self.pattern is not None:
            try:
                groups = re.compile(self.pattern).groups
            except re.error as error:
                raise ValueError(f"{self.pattern!r} is not a valid regular expression ({error})") from None
            if groups < 1:
                raise ValueError(f"{self.pattern!r} has no group for the value, as in (patient[0-9]+)")
        if list(self.bands) != sorted(set(self.bands)):
            raise ValueError("the limits of `bands` must rise")
        if self.otherwise is not None and not self.values:
            raise ValueError("`otherwise` stands for values that `values` does not list; list some")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """An object, or a text alone."""
        written = handler.resolve_ref_schema(handler(schema))
        inner = dict(written)
        written.clear()
        written.update({"anyOf": [{"type": "string"}, inner], "title": cls.__name__})
        return written

    def short(self) -> str | None:
        """The text or the column that stands for the cell in a configuration, without what is done with it."""
        return self.column if isinstance(self.column, str) else self.text

    def columns(self) -> list[tuple[str, ...]]:
        """The columns that the value is read from, each with its other names."""
        if self.column is not None:
            return [(self.column,) if isinstance(self.column, str) else self.column]
        return [(match[1],) for match in PLACE.finditer(self.text or "") if match[1]]

    def constant(self) -> str | None:
        """The text that all rows have; None where it follows from columns."""
        if self.text is None or self.columns():
            return None
        return PLACE.sub(lambda match: match[0][0], self.text)


class ColumnCell(Cell):
    """A column's name, or a text with columns in it ("{first} {last}"), or a mapping of these keys."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"text" if PLACE.search(given) else "column": given}
        return given


class TextCell(Cell):
    """A text that all rows have, or a mapping of these keys."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        return {"text": given} if isinstance(given, str) else given
