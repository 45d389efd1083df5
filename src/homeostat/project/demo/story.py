"""`homeostat demo`: the whole loop on a generated world, against real processes over HTTP, narrated as it happens.

Nothing is scripted to succeed. The story only plays the outside world (transactions, labels, colleagues who deploy);
what the platform makes of it is read back from the platform's own records, and the exit code is 0 only if every claim
at the end is true.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from homeostat.project.demo import transactions as world
from homeostat.project.demo.replay import CardReplay
from homeostat.project.demo.report import Report
from homeostat.project.trial import Trial

DAYS = 60
HISTORY = 20  # days of files before the first model
CHANGE_DAY = 35
_WORSE_DAY = 25  # a colleague tries a weaker recipe
_PATIENCE = 4  # days to wait for a rollout to end before the next act


class Story:
    """One telling. `say` prints a line of narration; acts are methods, in the order they happen."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        self.began = time.monotonic()
        self.trial: Trial | None = None
        self.report = Report(change_day=CHANGE_DAY)
        self.day = 0

    def say(self, words: str) -> None:
        """A line of narration, with the seconds since the beginning."""
        print(f"{time.monotonic() - self.began:5.0f} s  {words}", flush=True)

    def open(self) -> None:
        """Write the project and the first files, start the real processes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(__file__).with_name("fraud.py"), self.folder / "fraud.py")
        self.days = world.generate(self.seed, DAYS, change_day=CHANGE_DAY)
        damage = world.write_days(self.days[:HISTORY], self.folder / "data", damaged_day=12, seed=self.seed)
        self.report.spoiled = sum(_spoiled(found) for found in damage.values() if found is not None)
        self.trial = Trial(self.folder)
        self.control = self.trial.control
        self.replay = CardReplay(self.control, self.trial.inference, self.days, self.folder / "data")
        rows = sum(len(frame) for frame in self.days)
        self.say(f"{rows:,} card transactions over {DAYS} days, seed {self.seed}; {HISTORY} days have been exported")
        self.say(f"live screens: {self.trial.screens()}")

    def first_model(self) -> None:
        """Ingest, train, register, gate, deploy: `homeostat run`."""
        code = self.run("run")
        self.report.check("the first version was trained, passed its gate and is served", code == 0)
        for reason in self.control.get("/datasets/transactions/quarantine"):
            self.say(f"  quarantined {reason['rows']} rows of {Path(reason['file']).name}: {reason['rule']}")
            self.report.quarantined += reason["rows"]
        self.say(f"version {self.champion()} answers")

    def live_until(self, day: int, *, until: Any = None) -> None:
        """Replay days up to `day`, or until `until()` says that what was waited for has happened."""
        while self.day < day and not (until is not None and until()):
            self.replay.live(self.day)
            self.replay.settle()
            self.day += 1
            self._tell_news()

    def worse_model(self) -> None:
        """A colleague deploys a weak recipe: the gate must refuse."""
        self.say("a colleague tries a recipe with two weak columns: homeostat run -p recipe=weak")
        code = self.run("run", "-p", "recipe=weak")
        self.report.check("the gate refused the worse version (exit code 4)", code == 4)

    def leaky_model(self) -> None:
        """A recipe that looks splendid on files, and is blind on live traffic: it must come back by itself."""
        before, failed = self.champion(), self.replay.failed
        self.say("another colleague adds the column 'disputes', splendid on the files: homeostat run -p recipe=leaky")
        code = self.run("run", "-p", "recipe=leaky")
        self.report.check("a version that leaks passed its gate, as it does on files", code in (0, 5))
        newest = self.newest()
        self.live_until(DAYS, until=lambda: self.rolled_back(newest) is not None)
        rolled = self.rolled_back(newest)
        self.report.check("live traffic showed it, and it was rolled back by itself", rolled is not None)
        self.report.check("the version before answers again", self.champion() == before)
        self.report.check("no request failed through the rollback", self.replay.failed == failed)
        if rolled is not None:
            self.report.rollback = rolled["outcome"]

    def run(self, *arguments: str) -> int:
        """The command line, as a person types it; its words are passed on."""
        assert self.trial is not None
        code, lines = self.trial.run(*arguments)
        for line in lines:
            print(f"         | {line}", flush=True)
        return code

    def champion(self) -> int:
        """The version that answers now."""
        arms = self.control.get("/endpoints/fraud")["arms"]
        return int(next((a["version"] for a in arms if a["name"] == "champion"), 0))

    def newest(self) -> int:
        """The newest version of the model."""
        return int(self.control.get("/models/fraud")["newest"])

    def rolled_back(self, version: int) -> dict[str, Any] | None:
        """The decision that rolled `version` back, or None."""
        for decision in self.control.get("/decisions"):
            if decision["verdict"] == "roll_back" and decision["action"].get("from") == version:
                return dict(decision)
        return None

    def adapted(self) -> bool:
        """Whether a retrain that followed an incident is in place."""
        return any(d["verdict"] == "retrain" and d["state"] == "done" for d in self.control.get("/decisions"))

    def close(self) -> None:
        """Stop what was started."""
        if self.trial is not None:
            self.trial.close()

    def _tell_news(self) -> None:
        """What the platform noticed, decided or did since the last day, in its own words."""
        for line in self.report.news(self.control):
            self.say(f"day {self.day:2d}  {line}")


def _spoiled(damage: world.Damage) -> int:
    faults = (damage.nulls, damage.negative_amounts, damage.texts, damage.duplicate_keys, damage.hours_out_of_range)
    return sum(faults)


def tell(story: Story) -> None:
    """The acts, in order."""
    story.open()
    story.first_model()
    story.day = HISTORY
    story.live_until(_WORSE_DAY)
    story.worse_model()
    story.live_until(DAYS, until=story.adapted)
    story.live_until(min(DAYS, story.day + _PATIENCE))
    story.leaky_model()
    story.live_until(DAYS)
    story.report.conclude(story.control, story.replay, story.run)


def main(*, keep: bool = False, seed: int = 7, home: Path | None = None) -> int:
    """Tell the story; 0 only if every claim of its end is true. `keep` leaves the screens up until Ctrl-C."""
    folder = home if home is not None else Path(tempfile.mkdtemp(prefix="homeostat-demo-"))
    story = Story(folder, seed)
    try:
        tell(story)
        code = 0 if story.report.passed else 1
        if keep and story.trial is not None:
            print(f"The screens stay up: {story.trial.screens()}\nCtrl-C ends them.", flush=True)
            story.trial.server.wait()
        return code
    except KeyboardInterrupt:
        return 130
    finally:
        story.close()
        if home is None:
            shutil.rmtree(folder, ignore_errors=True)
