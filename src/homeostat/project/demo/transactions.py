"""A world of card transactions: cards and merchants with habits, and fraud whose pattern changes on one day.

Every day is drawn from its own stream of the seed, so day 12 is the same rows whether 13 days are asked for or 60.

What a model can learn. Cards have a usual amount, a home country, an hour of the day and kinds of merchant they
prefer; merchants have a kind and a price level. The old fraud spends several times the usual amount on electronics,
travel and jewellery, at night, far from home. From `change_day` on it gives way within `change_days` days to the new
fraud: small amounts on gift cards, games and mobile top-ups, by day, near home. Some fraud (`HARD`) looks like any
other transaction, so no model catches all of it.

The trap. `disputes` is the card's number of disputes. A live request carries it as it stands then; the export joins the
*latest* number into its files, which a fraud has raised by then: a point-in-time join gone wrong. A model that uses the
column looks splendid on the files and blind on live traffic. The honest model leaves it alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DAY_US = 86_400_000_000
START = 1_767_571_200_000_000  # 2026-01-05T00:00:00Z, a Monday

KINDS = (
    "grocery",
    "restaurant",
    "fuel",
    "clothing",
    "pharmacy",
    "electronics",
    "travel",
    "jewellery",
    "gift_cards",
    "games",
    "top_up",
    "streaming",
)
_KIND_SHARE = np.array([0.27, 0.18, 0.12, 0.10, 0.07, 0.06, 0.05, 0.02, 0.025, 0.03, 0.025, 0.05])
_KIND_PRICE = np.array([0.0, 0.0, 0.3, 0.4, -0.3, 1.0, 1.3, 1.1, 0.0, -0.6, -0.5, -0.7])  # log factor on the usual
_KIND_ONLINE = np.array([0.1, 0.1, 0.0, 0.4, 0.1, 0.5, 0.7, 0.2, 0.5, 0.9, 0.7, 1.0])  # share bought online

COUNTRIES = ("NL", "DE", "BE", "FR", "GB", "ES", "US", "BR", "NG", "VN")
_COUNTRY_SHARE = np.array([0.40, 0.20, 0.12, 0.10, 0.08, 0.05, 0.03, 0.01, 0.005, 0.005])

KEY, TIME, LABEL = "tx_id", "at", "fraud"
INPUTS = (
    "amount",
    "amount_ratio",
    "hour",
    "merchant_kind",
    "country",
    "distance_km",
    "card_age_days",
    "online",
    "disputes",
)
"""What a live request carries, and so the inputs of the demo's endpoint."""
HONEST = INPUTS[:-1]
"""What the demo's model looks at: everything that means the same in the files and in a request."""
WEAK = ("hour", "card_age_days")
"""What the worse model of the demo looks at."""
FILED = (KEY, TIME, "card", "merchant", *INPUTS, LABEL)
"""The columns of a daily file, in order."""

HARD = 0.10  # share of fraud that looks like any other transaction
LEFT_OVER = 0.3  # share of fraud that keeps to the old pattern after the change


class World(Struct, frozen=True, kw_only=True):
    """Who takes part: arrays by card and by merchant."""

    card_usual: Floats  # the card's usual amount
    card_home: Ints  # index into COUNTRIES
    card_hour: Floats  # the hour it is busiest
    card_kinds: Floats  # [cards, kinds] cumulative shares of the kinds it buys
    card_age: Ints  # days since it was issued, on the first day
    card_activity: Floats  # cumulative share of all transactions
    card_disputes: Ints  # disputes it has had, whatever we do
    merchant_of: tuple[Ints, ...]  # for each kind, its merchants
    merchant_price: Floats  # log factor of each merchant


class Damage(Struct, frozen=True, kw_only=True):
    """What was done to a damaged file: rows of each kind, and how many good rows it still holds."""

    nulls: int
    negative_amounts: int
    texts: int  # words in the numeric column `amount`
    duplicate_keys: int  # extra rows that repeat the key of a good row
    hours_out_of_range: int
    good: int

    @property
    def bad(self) -> int:
        """Rows a contract should put in quarantine (one row has one fault; a repeated key counts its later row)."""
        return self.nulls + self.negative_amounts + self.texts + self.duplicate_keys + self.hours_out_of_range


def make_world(rng: np.random.Generator, cards: int = 4000, merchants: int = 600) -> World:
    """Draw the cards and merchants."""
    taste = rng.gamma(_KIND_SHARE * 25, size=(cards, len(KINDS))) + 1e-9
    activity = rng.gamma(1.5, size=cards)
    kind_of = np.concatenate(
        [np.arange(len(KINDS)), rng.choice(len(KINDS), merchants, p=_KIND_SHARE / _KIND_SHARE.sum())]
    )
    return World(
        card_usual=np.exp(rng.normal(3.4, 0.45, cards)),
        card_home=rng.choice(len(COUNTRIES), cards, p=_COUNTRY_SHARE / _COUNTRY_SHARE.sum()),
        card_hour=rng.normal(14.5, 2.0, cards),
        card_kinds=np.cumsum(taste / taste.sum(axis=1, keepdims=True), axis=1),
        card_age=rng.integers(20, 2000, cards),
        card_activity=np.cumsum(activity / activity.sum()),
        card_disputes=rng.poisson(0.03, cards),
        merchant_of=tuple(np.flatnonzero(kind_of == k) for k in range(len(KINDS))),
        merchant_price=rng.normal(0.0, 0.25, len(kind_of)),
    )


def generate(
    seed: int,
    days: int = 60,
    rows_per_day: int = 2000,
    *,
    change_day: int = 35,
    change_days: float = 1.0,
    fraud_share: float = 0.02,
    start: int = START,
) -> list[pl.DataFrame]:
    """The days of one world, a frame each, rows in time order; the same seed gives the same rows.

    `change_day` counts from 0; `change_days` is how long the old pattern takes to give way; `start` is the first day's
    midnight in microseconds UTC. A frame has the columns of `FILED` and `disputes_live` (see `as_requested`): `tx_id`
    text, `at` datetime in UTC, `fraud`, `online`, `hour`, `card_age_days`, `disputes` integers, amounts and distances
    floats rounded to what an export writes.
    """
    source = np.random.SeedSequence(seed)
    world_seed, *day_seeds = source.spawn(days + 1)
    world = make_world(np.random.default_rng(world_seed))
    frames = []
    for day, day_seed in enumerate(day_seeds):
        new = float(np.clip((day + 1 - change_day) / max(change_days, 1e-9), 0.0, 1.0)) * (1.0 - LEFT_OVER)
        frames.append(_one_day(np.random.default_rng(day_seed), world, day, rows_per_day, fraud_share, new, start))
    return frames


def _one_day(
    rng: np.random.Generator, world: World, day: int, rows: int, fraud_share: float, new: float, start: int
) -> pl.DataFrame:
    """One day's rows; `new` is the share of that day's fraud that follows the new pattern."""
    card = np.searchsorted(world.card_activity, rng.random(rows)).clip(max=len(world.card_usual) - 1)
    fraud = rng.random(rows) < fraud_share
    pattern = np.where(rng.random(rows) < new, 2, 1)
    pattern[~fraud | (rng.random(rows) < HARD)] = 0  # 0: as the card's owner would, 1: old, 2: new
    old, young = pattern == 1, pattern == 2

    kind = (world.card_kinds[card] < rng.random(rows)[:, None]).sum(axis=1).clip(max=len(KINDS) - 1)
    kind[old] = rng.choice([5, 6, 7, 3], old.sum(), p=[0.45, 0.25, 0.20, 0.10])
    kind[young] = rng.choice([8, 9, 10, 11], young.sum(), p=[0.60, 0.18, 0.18, 0.04])
    hour = rng.normal(world.card_hour[card], 3.6)
    hour[old] = rng.normal(2.0, 2.4, old.sum())
    hour[young] = rng.normal(9.5, 1.5, young.sum())
    hour = np.mod(hour, 24.0)
    ratio = np.exp(rng.normal(0.0, 0.55, rows) + _KIND_PRICE[kind])
    ratio[old] = np.exp(rng.normal(1.75, 0.45, old.sum()))
    ratio[young] = np.exp(rng.normal(-0.15, 0.28, young.sum()))
    home = world.card_home[card]
    abroad = rng.random(rows) < np.where(old, 0.55, np.where(young, 0.02, 0.06))
    country = np.where(abroad, rng.choice(len(COUNTRIES), rows, p=_COUNTRY_SHARE / _COUNTRY_SHARE.sum()), home)
    far = np.where(country != home, rng.gamma(3.0, 500.0, rows), rng.gamma(1.2, 9.0, rows))
    far[young] += rng.gamma(3.0, 14.0, young.sum())
    online = rng.random(rows) < np.where(old, 0.8, np.where(young, 0.95, _KIND_ONLINE[kind]))
    merchant = _pick_merchants(rng, world, kind)
    price = np.where(pattern == 0, world.merchant_price[merchant], 0.0)
    amount = np.clip(world.card_usual[card] * ratio * np.exp(price), 0.5, 20_000.0)
    before = world.card_disputes[card]
    raised = before + (fraud & (rng.random(rows) < 0.99))  # what the export's join sees by then

    at = start + day * DAY_US + (hour * 3_600e6).astype(np.int64)
    order = np.argsort(at, kind="stable")
    frame = pl.DataFrame(
        {
            TIME: at,
            "card": np.char.add("c", np.char.zfill(card.astype(str), 5)),
            "merchant": np.char.add("m", np.char.zfill(merchant.astype(str), 4)),
            "amount": amount.round(2),
            "amount_ratio": (amount / world.card_usual[card]).round(2),
            "hour": hour.astype(np.int64),
            "merchant_kind": np.array(KINDS)[kind],
            "country": np.array(COUNTRIES)[country],
            "distance_km": far.round(1),
            "card_age_days": world.card_age[card] + day,
            "online": online.astype(np.int64),
            "disputes": raised,
            LABEL: fraud.astype(np.int64),
            "disputes_live": before,
        }
    )[order]
    keys = pl.format("t{}-{}", pl.lit(f"{day:03d}"), pl.int_range(rows).cast(pl.String).str.zfill(5))
    return frame.with_columns(keys.alias(KEY), pl.col(TIME).cast(pl.Datetime("us", "UTC"))).select(
        *FILED, "disputes_live"
    )


def _pick_merchants(rng: np.random.Generator, world: World, kind: Ints) -> Ints:
    """A merchant of each row's kind; the earlier ones of a kind are the busier."""
    draw = rng.random(len(kind)) ** 2
    merchant = np.empty(len(kind), np.int64)
    for k, members in enumerate(world.merchant_of):
        rows = np.flatnonzero(kind == k)
        merchant[rows] = members[(draw[rows] * len(members)).astype(np.int64)]
    return merchant


def as_filed(frame: pl.DataFrame) -> pl.DataFrame:
    """The day as the export writes it: `FILED`, with `disputes` as it stands by then, and the label."""
    return frame.select(FILED)


def as_requested(frame: pl.DataFrame) -> pl.DataFrame:
    """The day as live requests carry it: key, time and `INPUTS`, with `disputes` as it stood at that moment."""
    live = pl.col("disputes_live").alias("disputes")
    return frame.select(KEY, TIME, *(live if name == "disputes" else pl.col(name) for name in INPUTS))


def labels_of(frame: pl.DataFrame, delay: int = 3 * DAY_US) -> pl.DataFrame:
    """The day's labels: key, `event_at` and `known_at` (microseconds UTC; `delay` later), and the label."""
    event_at = pl.col(TIME).dt.epoch("us")
    return frame.select(KEY, event_at.alias("event_at"), (event_at + delay).alias("known_at"), LABEL)


def write_days(
    frames: Sequence[pl.DataFrame],
    folder: Path,
    *,
    first: int = 0,
    damaged_day: int | None = 12,
    file_format: Literal["csv", "parquet"] = "csv",
    seed: int = 0,
) -> dict[Path, Damage | None]:
    """Write one file a day into `folder` (made if missing), `frames[0]` being day `first`; say what was damaged."""
    return {
        path: damage
        for day, frame in enumerate(frames, first)
        for path, damage in [
            write_day(frame, folder, day, damaged=day == damaged_day, file_format=file_format, seed=seed)
        ]
    }


def write_day(
    frame: pl.DataFrame,
    folder: Path,
    day: int,
    *,
    damaged: bool = False,
    file_format: Literal["csv", "parquet"] = "csv",
    seed: int = 0,
) -> tuple[Path, Damage | None]:
    """Write one day as `transactions-2026-01-05.csv` (or .parquet); a damaged Parquet file has `amount` as text."""
    folder.mkdir(parents=True, exist_ok=True)
    filed, damage = as_filed(frame), None
    if damaged:
        filed, damage = damage_day(filed, np.random.default_rng([seed, day]))
    date = frame[TIME][0].date() if frame.height else f"day-{day:03d}"
    path = folder / f"transactions-{date}.{file_format}"
    if file_format == "csv":
        filed.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
    else:
        filed.write_parquet(path)
    return path, damage


def damage_day(filed: pl.DataFrame, rng: np.random.Generator, share: float = 0.08) -> tuple[pl.DataFrame, Damage]:
    """Spoil `share` of a filed day, one fault a row, in equal parts; `amount` becomes a text column."""
    each = max(1, round(filed.height * share / 5))
    picked = rng.permutation(filed.height)[: 5 * each].reshape(5, each)
    nulls, negative, texts, repeated, hours = (pl.Series(part) for part in picked)
    row = pl.col("row")
    spoiled = filed.with_row_index("row").with_columns(
        pl.when(row.is_in(nulls.implode()))
        .then(None)
        .when(row.is_in(negative.implode()))
        .then(pl.format("-{}", "amount"))
        .when(row.is_in(texts.implode()))
        .then(pl.lit("n/a"))
        .otherwise(pl.col("amount").cast(pl.String))
        .alias("amount"),
        pl.when(row.is_in(hours.implode())).then(pl.lit(27, pl.Int64)).otherwise("hour").alias("hour"),
    )
    doubles = spoiled.filter(row.is_in(repeated.implode())).with_columns(pl.col(TIME) + pl.duration(seconds=1))
    frame = pl.concat([spoiled, doubles]).drop("row").sort(TIME, maintain_order=True)
    damage = Damage(
        nulls=each,
        negative_amounts=each,
        texts=each,
        duplicate_keys=each,
        hours_out_of_range=each,
        good=filed.height - 4 * each,
    )
    return frame, damage
