"""Two years of bike rides through a real Homeostat, in event time: what the loop makes of them, and what it beats.

    HOMEOSTAT_EXAMPLE_BIKES=/path/to/bike_hour.parquet python replay.py [--days N] [--keep FOLDER]

Starts `homeostat up` in a scratch folder, writes the first tenth of the hours as files, trains and deploys by
`homeostat run`, and then plays every later hour through the endpoint: a request an hour, a file a day, each label
a day later. Accuracy is that of the answers that were served. What the loop may do is said in `project.py` alone.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import beside
import numpy as np
import polars as pl
import rides
from msgspec import Struct
from numpy.typing import NDArray

from homeostat.foundation.clock import format_duration, iso
from homeostat.project.connection import Connection
from homeostat.project.replay import Replay
from homeostat.project.trial import Trial

MONTH = 30  # days in a row of the table
GOAL, MOST_RETRAINS = 0.88, 12


class Outcome(Struct, frozen=True, kw_only=True):
    """What a replay showed. Accuracies are over the same replayed rows; times are event time, microseconds UTC."""

    rows: int
    answered: int
    failed: int
    accuracy: float
    fixed: float
    never: float
    retrains: int
    by_month: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
    incidents: list[dict[str, Any]]
    seconds: float

    @property
    def goals(self) -> list[tuple[str, bool]]:
        """What was aimed at over the whole stream, and whether it was reached."""
        return [
            (f"accuracy of the served answers is {GOAL} or more", self.accuracy >= GOAL),
            (f"at most {MOST_RETRAINS} retrains", self.retrains <= MOST_RETRAINS),
            ("not below a fixed schedule with as many retrains", self.accuracy >= self.fixed),
            ("every row was answered", self.answered == self.rows and not self.failed),
        ]


def play(every: pl.DataFrame, folder: Path, *, days: int | None = None, say: Any = print) -> Outcome:
    """Train on the first tenth of `every`, replay `days` of the rest (all of it, unless said), and gather what came."""
    began = time.monotonic()
    first, rest = rides.split(every)
    if days is not None:
        rest = rest.filter(pl.col("day") < rest["day"][0] + days)
    shutil.copy(beside.PROJECT, folder / "project.py")
    rides.write_days(first, folder / "data")
    with Trial(folder) as trial:
        say(f"{first.height:,} hours to train on, {rest.height:,} to replay; live screens: {trial.screens()}")
        code, lines = trial.run("run")
        say("\n".join(f"  | {line}" for line in lines))
        if code != 0:
            raise SystemExit(f"error: `homeostat run` ended with {code}")
        served, failed = _replay(trial, rest, folder / "data", say)
        decisions = _in_event_time(trial.control.get("/decisions", limit=500))
        incidents = _in_event_time(trial.control.get("/incidents", limit=500))
    retrains = [d["event_at"] for d in decisions if d["verdict"] == "retrain"]
    at = rest["at"].dt.epoch("us").to_list()
    truth = rest["busy"].to_numpy()
    fixed = beside.answers(first, rest, beside.evenly(at[0], at[-1], len(retrains)))
    never = beside.answers(first, rest, [])
    return Outcome(
        rows=rest.height,
        answered=int((served >= 0).sum()),
        failed=failed,
        accuracy=float((served == truth).mean()),
        fixed=float((fixed == truth).mean()),
        never=float((never == truth).mean()),
        retrains=len(retrains),
        by_month=_by_month(rest, {"loop": served, "fixed": fixed, "never": never}, retrains),
        decisions=decisions,
        incidents=incidents,
        seconds=time.monotonic() - began,
    )


def _replay(trial: Trial, rest: pl.DataFrame, folder: Path, say: Any) -> tuple[NDArray[np.int64], int]:
    """Every day in turn: its hours are asked, its file is written, the labels of the day before become known."""
    inputs = [i["name"] for i in _metadata(trial)["inputs"]]
    replay = Replay(
        trial.control, trial.inference, "busy", inputs=inputs, key="hour_id", time="at", rows_a_request=1
    )  # every hour is asked by itself, at its own time
    served: list[int] = []
    unlabelled: list[pl.DataFrame] = []
    told = trial.events()[-1]["seq"]
    days = rest.partition_by("day", maintain_order=True)
    for n, day in enumerate(days, 1):
        served += [_label_of(answer) for answer in replay.send(day)]
        rides.write_days(day, folder)
        unlabelled.append(day)
        due = pl.col("at").dt.epoch("us") + rides.LABEL_DELAY <= day["at"].dt.epoch("us").max()
        waiting = pl.concat(unlabelled)
        replay.label("hours", _labels(waiting.filter(due)))
        unlabelled = [waiting.filter(~due)]
        if not replay.settle():
            raise SystemExit(f"error: the loop did not settle after day {n}: {trial.control.get('/loop')}")
        for event in trial.events(told):
            told = event["seq"]
            if line := _news(event):
                say(f"  day {n:3d}  {line}")
        if n % MONTH == 0:
            right = (np.array(served) == rest["busy"][: len(served)].to_numpy()).mean()
            say(f"  day {n:3d}  accuracy so far {right:.3f}")
    replay.close()
    return np.array(served), replay.failed


def _metadata(trial: Trial) -> dict[str, Any]:
    inference = Connection(trial.inference, trial.control.token)
    try:
        return dict(inference.get("/v2/models/busy"))
    finally:
        inference.close()


def _label_of(answer: dict[str, Any]) -> int:
    """The class that was answered; -1 where the request failed."""
    outputs = {o["name"]: o["data"] for o in answer.get("outputs", [])}
    return int(outputs["label"][0]) if "label" in outputs else -1


def _labels(hours: pl.DataFrame) -> Any:
    at = hours["at"].dt.epoch("us")
    return zip(hours["hour_id"], at, at + rides.LABEL_DELAY, hours["busy"], strict=True)


def _in_event_time(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(listed, key=lambda one: (one["event_at"] or 0, one.get("at") or 0))


def _news(event: dict[str, Any]) -> str | None:
    payload = event["payload"] or {}
    if event["kind"] == "monitoring.incident_raised":
        return f"incident: {payload.get('summary')}"
    if event["kind"] == "governance.decision_recorded":
        return f"decision: {payload.get('summary')}"
    if event["kind"] == "delivery.deployment_moved" and payload.get("state") in ("waiting", "refused", "failed"):
        return f"version {payload.get('version')} {payload['state']}: {payload.get('summary')}"
    return None


def _by_month(rest: pl.DataFrame, said: dict[str, NDArray[np.int64]], retrains: list[int]) -> list[dict[str, Any]]:
    month = ((rest["day"] - rest["day"][0]) // MONTH).to_numpy()
    truth, at = rest["busy"].to_numpy(), rest["at"].dt.epoch("us").to_numpy()
    rows = []
    for k in range(int(month.max()) + 1):
        within = month == k
        begin, end = at[within].min(), at[within].max()
        accuracy = {name: float((answers[within] == truth[within]).mean()) for name, answers in said.items()}
        rows.append(
            {"from": iso(int(begin))[:10], **accuracy, "retrains": sum(begin <= moment <= end for moment in retrains)}
        )
    return rows


def tell(outcome: Outcome, say: Any = print) -> None:
    """Print the report."""
    say("\nDecisions, in event time")
    for d in outcome.decisions:
        say(f"  {_when(d)}  {d['state']:<8} {d['summary']}" + (f"\n{'':>22}{d['outcome']}" if d["outcome"] else ""))
    say("\nIncidents")
    for i in outcome.incidents:
        say(f"  {_when(i)}  {i['state']:<8} {i['summary']}")
    say("\nAccuracy of the served answers, by 30 days        loop   fixed  never  retrains")
    for row in outcome.by_month:
        counted = "+" * row["retrains"]
        say(f"  from {row['from']}  {'':<30}{row['loop']:.3f}  {row['fixed']:.3f}  {row['never']:.3f}  {counted}")
    say(
        f"  {'all':<47}{outcome.accuracy:.4f} {outcome.fixed:.4f} {outcome.never:.4f} {outcome.retrains}"
        f"\n\n{outcome.answered:,} of {outcome.rows:,} rows answered, {outcome.failed} requests failed, in "
        f"{format_duration(round(outcome.seconds) * 1_000_000)}"
    )


def _when(one: dict[str, Any]) -> str:
    return iso(one["event_at"])[:16].replace("T", " ") if one["event_at"] is not None else " " * 16


def main() -> int:
    """The whole stream; 0 only if every goal is reached."""
    parser = argparse.ArgumentParser(description="Replay the bike rides through a real Homeostat.")
    parser.add_argument("--days", type=int, help="replay only so many days (the goals are about all of them)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="run in this folder and leave it")
    asked = parser.parse_args()
    every = rides.read()
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="homeostat-bikes-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        outcome = play(every, folder, days=asked.days, say=lambda words: print(words, flush=True))
    finally:
        if asked.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    tell(outcome)
    if asked.days is not None:
        return 0
    print()
    for goal, reached in outcome.goals:
        print(f"  {'yes' if reached else 'NO '}  {goal}")
    return 0 if all(reached for _, reached in outcome.goals) else 1


if __name__ == "__main__":
    sys.exit(main())
