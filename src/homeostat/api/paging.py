"""How much of a list a request gets."""

from __future__ import annotations

from typing import Annotated

from litestar.params import QueryParameter

Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="At most so many, the newest")]
After = Annotated[int, QueryParameter(ge=0, le=2**63 - 1, description="What comes after this sequence number")]
