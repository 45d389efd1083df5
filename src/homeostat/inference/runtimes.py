"""A loaded model as the handler uses it: what it takes, what it gives, and prediction of several requests in one call.

Loading itself belongs to `packages.loader`, the one choke point; this file only wraps what comes from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from homeostat.foundation.errors import HomeostatError, Kind, entry
from homeostat.inference.tensors import ColumnReader, OutputWriter
from homeostat.packages.records import Manifest

MODEL_FAILED = entry(
    "inference.model_failed",
    Kind.FAILED,
    "the model raised {what} on this input",
    "this is a fault of the model, not of the request; its log names the request id",
)

Columns = dict[str, list[Any]]
Block = tuple[Columns, int]  # the columns of one request and its number of rows

MERGED_ROWS = 512  # at most so many rows of several requests go into one call
_WARM_ROWS = (1, 1, 8)


class Predictor(Protocol):
    """What `packages.loader.load` gives. `predict` is called from one thread at a time and keeps no reference."""

    @property
    def manifest(self) -> Manifest:
        """What the package says of itself."""
        ...

    def predict(self, columns: Columns, n: int) -> dict[str, Any]:
        """Output name -> numpy array of n values, or [n, k]."""
        ...

    def example(self, n: int = 1) -> Columns:
        """A block of n rows that the model takes."""
        ...


Load = Callable[[str, str], Predictor]  # (root of the object store, manifest digest)


def load_package(objects: str, digest: str) -> Predictor:
    """Load through the choke point. Heavy libraries are imported here, so in the loading thread."""
    from homeostat.packages.loader import load

    return load(objects, digest)


def import_loader() -> None:
    """Import what `load_package` needs, so that the first plan does not wait for it."""
    import homeostat.packages.loader  # noqa: F401


class Runtime:
    """One loaded package. Made in a loading thread, used by one event loop."""

    def __init__(self, digest: str, predictor: Predictor) -> None:
        manifest = predictor.manifest
        self.digest = digest
        self.signature = manifest.signature
        self.platform = "onnxruntime_onnx" if manifest.format == "onnx" else "sklearn_skops"
        self.reader = ColumnReader(manifest.signature)
        self.writer = OutputWriter(manifest.signature)
        self._predict = predictor.predict
        self._example = predictor.example

    def warm(self) -> None:
        """Show that the model answers with what its signature says, before any caller needs it."""
        for rows in _WARM_ROWS:
            outputs = self.predict(self._example(rows), rows)
            for name in self.writer.names:
                if len(outputs[name]) != rows:
                    raise ValueError(f"output {name!r} has {len(outputs[name])} values for {rows} rows")

    def predict(self, columns: Columns, rows: int) -> dict[str, list[Any]]:
        """The outputs as lists of `rows` values."""
        return {name: array.tolist() for name, array in self._predict(columns, rows).items()}

    def predict_each(self, blocks: Sequence[Block]) -> list[dict[str, list[Any]] | HomeostatError]:
        """The outputs of each block, computed together; when that fails, each alone, so that one spoils no other."""
        if len(blocks) == 1:
            return [self._predict_alone(*blocks[0])]
        names = blocks[0][0]
        merged = {name: [value for columns, _ in blocks for value in columns[name]] for name in names}
        try:
            outputs = self.predict(merged, sum(rows for _, rows in blocks))
        except Exception:  # whatever a model raises; which block is at fault shows below
            return [self._predict_alone(*block) for block in blocks]
        each: list[dict[str, list[Any]] | HomeostatError] = []
        at = 0
        for _, rows in blocks:
            end = at + rows
            each.append({name: values[at:end] for name, values in outputs.items()})
            at = end
        return each

    def _predict_alone(self, columns: Columns, rows: int) -> dict[str, list[Any]] | HomeostatError:
        try:
            return self.predict(columns, rows)
        except HomeostatError as error:
            return error
        except Exception as error:  # whatever a model raises is the model's fault, and must not end the process
            return MODEL_FAILED(what=f"{type(error).__name__}: {str(error)[:200]}")
