"""Days of the card world as they are lived: transactions are scored, files exported, older labels become known."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from homeostat.project.connection import Connection
from homeostat.project.demo import transactions as world
from homeostat.project.replay import Replay

LABEL_DELAY_DAYS = 3


class CardReplay(Replay):
    """The outside world of the demo's endpoint."""

    def __init__(self, control: Connection, inference: str, days: list[pl.DataFrame], folder: Path) -> None:
        super().__init__(control, inference, "fraud", inputs=world.INPUTS, key=world.KEY, time=world.TIME)
        self.days = days
        self.folder = folder

    def live(self, day: int) -> None:
        """One day: its transactions are scored as they happen, its file is exported, older labels become known."""
        self.send(world.as_requested(self.days[day]))
        world.write_day(self.days[day], self.folder, day)
        if day >= LABEL_DELAY_DAYS:
            found = world.labels_of(self.days[day - LABEL_DELAY_DAYS], LABEL_DELAY_DAYS * world.DAY_US)
            self.label("transactions", found.iter_rows())
