"""Which hours will be busy at the bike stations? Retrained as the city rides more and the seasons turn."""

from sklearn.ensemble import HistGradientBoostingClassifier

import homeostat as hs

hours = hs.dataset(
    "hours",
    hs.files("data/*.parquet"),
    key="hour_id",
    time="at",
    label="busy",
    label_delay="1d",
    checks=[hs.column("hr").between(0, 23), hs.column("hum").between(0, 1), hs.column("hour_id").unique()],
)

WEATHER = ["weathersit", "temp", "atemp", "hum", "windspeed"]
CALENDAR = ["day", "season", "mnth", "hr", "holiday", "weekday", "workingday"]


@hs.model(
    hours,
    inputs=CALENDAR + WEATHER,
    metric="accuracy",
    threshold=0.5,
    held_out="5d",
    gate=[hs.champion(rule="not_shown_worse", min_positives=30)],
    rollout=hs.shadow(days=4),
    respond=hs.automatic(learn_from="all", min_rows=168, min_positives=30, cooldown="55d"),
    schedule="55d",
)
def busy(X, y):
    """`day` counts days since the first: splits on it let the newest rows correct the older ones."""
    trees = HistGradientBoostingClassifier(
        max_iter=120, learning_rate=0.08, max_leaf_nodes=15, min_samples_leaf=10, early_stopping=False, random_state=0
    )
    return trees.fit(X, y)
