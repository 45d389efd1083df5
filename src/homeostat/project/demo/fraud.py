"""Is this card transaction a fraud? A whole project: one dataset, one function, and what may follow."""

from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import homeostat as hs

transactions = hs.dataset(
    "transactions", hs.files("data/*.csv"), key="tx_id", time="at", label="fraud", label_delay="3d",
    checks=[
        hs.column("amount").not_null(), hs.column("amount").between(0, 50_000),
        hs.column("hour").between(0, 23.99), hs.column("tx_id").unique(),
    ],
)  # fmt: skip

HONEST = ["amount", "amount_ratio", "hour", "distance_km", "card_age_days", "online"]
RECIPES = {"honest": HONEST, "weak": ["hour", "card_age_days"], "leaky": [*HONEST, "disputes"]}
KINDS = ["merchant_kind", "country"]


def encode(recipe: str):
    kinds = "drop" if recipe == "weak" else OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer((kinds, KINDS), ("passthrough", RECIPES[recipe]))


@hs.model(
    transactions, inputs=[*HONEST, *KINDS, "disputes"], metric="average_precision", threshold="f1",
    gate=[hs.champion(), hs.metric_at_least(0.40), hs.p99_under(ms=20)],
    rollout=hs.canary(share=0.3), respond=hs.automatic(learn_from="since_change", min_positives=220),
)  # fmt: skip
def fraud(X, y, *, recipe: str = "honest", trees: int = 80):
    model = HistGradientBoostingClassifier(
        max_iter=trees, learning_rate=0.08, max_leaf_nodes=12, l2_regularization=5, early_stopping=False, random_state=0
    )
    return make_pipeline(encode(recipe), model).fit(X, y)
