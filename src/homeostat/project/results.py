"""What `hs.register`, `hs.deploy` and `hs.predict` give back: readable at a prompt and in a notebook."""

from __future__ import annotations

from html import escape
from typing import Any

from msgspec import Struct

_STYLE = "font-family:ui-monospace,monospace;font-size:13px;line-height:1.5"


class Registered(Struct, frozen=True, kw_only=True):
    """A model version that was registered from this process."""

    model: str
    version: int
    package: str
    format: str
    missing: tuple[str, ...]
    remarks: tuple[str, ...]
    address: str
    example: dict[str, list[Any]] = {}

    @property
    def screen(self) -> str:
        """The address of its screen."""
        return f"{self.address}/models/{self.model}/{self.version}"

    def _lines(self) -> list[tuple[str, str]]:
        lines = [
            ("registered", f"{self.model}@{self.version} ({self.format}, package {self.package[:12]})"),
            ("screen", self.screen),
            ("next", "hs.deploy(...) with this"),
        ]
        lines += [("missing", lack) for lack in self.missing]
        return lines + [("note", remark) for remark in self.remarks]

    def __repr__(self) -> str:
        return _text(self._lines())

    def _repr_html_(self) -> str:
        return _html(self._lines())


class Deployed(Struct, frozen=True, kw_only=True):
    """A version on its way to an endpoint, or on it."""

    endpoint: str
    model: str
    version: int
    state: str
    summary: str
    address: str
    curl: str

    @property
    def screen(self) -> str:
        """The address of the endpoint's screen."""
        return f"{self.address}/endpoints/{self.endpoint}"

    def _lines(self) -> list[tuple[str, str]]:
        state = self.state.replace("_", " ")
        return [
            ("endpoint", f"{self.endpoint}: {self.model}@{self.version}, {state}"),
            *([("because", self.summary)] if self.summary else []),
            ("screen", self.screen),
            ("try it", self.curl),
        ]

    def __repr__(self) -> str:
        return _text(self._lines())

    def _repr_html_(self) -> str:
        return _html(self._lines())


class Predictions(Struct, frozen=True, kw_only=True):
    """Answers, one for each row: `label` and `score`, or `value`; `ids` are what labels can be sent under."""

    endpoint: str
    version: str
    outputs: dict[str, list[Any]]
    ids: tuple[str, ...]

    @property
    def label(self) -> list[Any]:
        """The decision on each row (classification)."""
        return self.outputs["label"]

    @property
    def score(self) -> list[Any]:
        """The probability of the positive class on each row, or of each class."""
        return self.outputs["score"]

    @property
    def value(self) -> list[float]:
        """The value of each row (regression)."""
        return self.outputs["value"]

    def __len__(self) -> int:
        return len(self.ids)

    def _rows(self) -> list[list[str]]:
        return [[i, *(_cell(self.outputs[o][n]) for o in self.outputs)] for n, i in enumerate(self.ids[:20])]

    def __repr__(self) -> str:
        head = f"{len(self)} answers of {self.endpoint}@{self.version}"
        lines = ["  ".join(row) for row in (["prediction", *self.outputs], *self._rows())]
        return "\n".join([head, *lines, *(["..."] if len(self) > 20 else [])])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in ("prediction", *self.outputs))
        body = "".join(f"<tr>{''.join(f'<td>{escape(c)}</td>' for c in row)}</tr>" for row in self._rows())
        said = f"{len(self)} answers of {escape(self.endpoint)}@{escape(self.version)}"
        return f'<div style="{_STYLE}">{said}<table><tr>{head}</tr>{body}</table></div>'


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(map(_cell, value)) if isinstance(value, list) else str(value)


def _text(lines: list[tuple[str, str]]) -> str:
    return "\n".join(f"{name:11} {value}" for name, value in lines)


def _html(lines: list[tuple[str, str]]) -> str:
    def shown(value: str) -> str:
        if value.startswith("http"):
            return f'<a href="{escape(value)}">{escape(value)}</a>'
        return f"<code>{escape(value)}</code>" if value.startswith("curl ") else escape(value)

    rows = "".join(
        f'<tr><td style="opacity:.6;vertical-align:top">{escape(n)}</td><td>{shown(v)}</td></tr>' for n, v in lines
    )
    return f'<table style="{_STYLE}">{rows}</table>'
