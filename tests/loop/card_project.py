"""The demo's project with the numbers a small world needs: 350 rows a day, two in five of them fraud."""

from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import homeostat as hs

transactions = hs.dataset(
    "transactions", hs.files("data/*.csv"), key="tx_id", time="at", label="fraud", label_delay="1d",
    checks=[
        hs.column("amount").not_null(), hs.column("amount").between(0, 50_000),
        hs.column("hour").between(0, 23.99), hs.column("tx_id").unique(),
    ],
)  # fmt: skip

HONEST = ["amount", "amount_ratio", "hour", "distance_km", "card_age_days", "online"]
RECIPES = {"honest": HONEST, "weak": ["card_age_days"], "leaky": [*HONEST, "disputes"]}
KINDS = ["merchant_kind", "country"]


def encode(recipe: str):
    categories = ("drop", KINDS) if recipe == "weak" else (OneHotEncoder(handle_unknown="ignore"), KINDS)
    return make_column_transformer(categories, ("passthrough", RECIPES[recipe]))


@hs.model(
    transactions, inputs=[*HONEST, *KINDS, "disputes"], metric="average_precision", threshold="f1",
    gate=[hs.champion(min_positives=25), hs.metric_at_least(0.5, min_positives=25), hs.p99_under(ms=2000)],
    rollout=hs.canary(share=0.4, margin=0.16, min_rows=80, latency_budget_ms=5000),
    respond=hs.automatic(min_positives=200, min_rows=400),
)  # fmt: skip
def fraud(X, y, *, recipe: str = "honest", trees: int = 30):
    model = GradientBoostingClassifier(n_estimators=trees, subsample=0.5, random_state=0)
    return make_pipeline(encode(recipe), model).fit(X, y)
