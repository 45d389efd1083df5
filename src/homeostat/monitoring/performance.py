"""Is the model still right? Detectors on labelled predictions. Worker-side.

Binary classification with a threshold has two detectors: `misses` (positives called negative, among positives) and
`false_alarms` (negatives called positive, among negatives), each against what the held-out rows showed. They do not
move when only the share of positives moves, which a loss over all rows would. Without a threshold, with more classes
and in regression there is one detector, `loss`: the mean of a loss in [0, 1] (`bounded_loss`).

Each is a Shiryaev-Roberts e-detector; what its rate of false alarms means is told in `monitoring.sequential`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from homeostat.monitoring.metrics import decide
from homeostat.monitoring.sequential import Observed, null_limit, track
from homeostat.monitoring.states import Track
from homeostat.packages.records import ReferenceProfile, Signature

Array = NDArray[Any]


class Labelled(Struct, frozen=True, kw_only=True):
    """Labelled predictions as arrays: `truth` and `score` as `metrics.measure` takes them, `event_at` of each row."""

    truth: Array
    score: Array
    event_at: NDArray[np.int64]


def truth_of(signature: Signature, labels: Sequence[Any]) -> tuple[Array, NDArray[np.bool_]]:
    """Raw labels as `metrics.measure` takes them, and which of them the model knows (the others' truth means nothing).

    A class is recognised by its value or by its text, so 1, 1.0, true and "1" can all name class 1.
    """
    if signature.task == "regression":
        numbers = np.array([_number(v) for v in labels], dtype=np.float64)
        return numbers, ~np.isnan(numbers)
    index: dict[Any, int] = {str(c): i for i, c in enumerate(signature.classes)}
    index |= {c: i for i, c in enumerate(signature.classes)}
    codes = np.array([index.get(v, index.get(str(v), -1)) for v in labels], dtype=np.int64)
    known = codes >= 0
    return (codes == 1 if len(signature.classes) == 2 else codes), known


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def bounded_loss(truth: Array, score: Array, *, task: str, scale: float | None = None) -> NDArray[np.float64]:
    """A loss in [0, 1] for each row.

    Regression: min(|truth - value| / scale, 1), `scale` being the error that counts as 1. Binary without a threshold:
    the squared error of the probability (Brier 1950). More classes: 1 where the likeliest class is not the true one.
    """
    if task == "regression":
        error = np.abs(np.asarray(truth, dtype=np.float64) - score)
        return np.minimum(error / (scale or 1.0), 1.0)
    if score.ndim == 2:
        return np.asarray(decide(score, 0.5) != truth, dtype=np.float64)
    return np.asarray((score - truth) ** 2, dtype=np.float64)


def tracks(signature: Signature, profile: ReferenceProfile) -> tuple[Track, ...]:
    """What to watch for this version: (misses, false_alarms), or (loss,), or () where nothing was held out."""
    if signature.threshold is not None and profile.misses is not None and profile.false_alarms is not None:
        positives = profile.held_out_positives
        negatives = profile.held_out_rows - positives
        return (
            track("misses", profile.misses, null_limit(profile.misses, positives)),
            track("false_alarms", profile.false_alarms, null_limit(profile.false_alarms, negatives)),
        )
    if profile.loss is not None and profile.held_out_rows:
        return (track("loss", profile.loss, null_limit(profile.loss, profile.held_out_rows)),)
    return ()


def observed(signature: Signature, profile: ReferenceProfile, rows: Labelled) -> dict[str, Observed]:
    """The labelled rows as each track takes them: values in [0, 1] with their event times."""
    if signature.threshold is not None and profile.misses is not None and profile.false_alarms is not None:
        positive = rows.truth.astype(bool)
        called = decide(rows.score, signature.threshold)
        return {
            "misses": Observed((~called[positive]).astype(np.float64), rows.event_at[positive]),
            "false_alarms": Observed(called[~positive].astype(np.float64), rows.event_at[~positive]),
        }
    loss = bounded_loss(rows.truth, rows.score, task=signature.task, scale=profile.loss_scale)
    return {"loss": Observed(loss, rows.event_at)}
