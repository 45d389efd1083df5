"""Datasets: what is taken in, version by version, and what was set aside with the reason."""

from __future__ import annotations

from litestar import Response
from litestar.params import FromPath, FromQuery

from homeostat.data import contracts, datasets, labels, lineage, quarantine, versions
from homeostat.ui import formats, snapshot
from homeostat.ui.views import Viewing, screen

_VERSIONS = 50
_REASONS = 100


@screen("/datasets")
def listing(view: Viewing) -> Response[bytes]:
    """Every dataset with its newest version."""
    with view.read() as reader:
        seen = snapshot.take(reader, page=0)
    rows = sum(version.rows for version in seen.versions.values())
    count = len(seen.datasets)
    sentence = (
        f"{formats.spelled(count).capitalize()} {'dataset' if count == 1 else 'datasets'}, "
        f"{formats.plural(rows, 'row')} in {'its' if count == 1 else 'their'} newest versions."
        if count
        else "No dataset is declared yet."
    )
    return view.page("datasets.html", "Data", sentence=sentence, seen=seen)


@screen("/datasets/{dataset:str}")
def show(view: Viewing, dataset: FromPath[str], version: FromQuery[int | None] = None) -> Response[bytes]:
    """One dataset: its contract, versions, quarantine and files."""
    with view.read() as reader:
        defined = datasets.get(reader, dataset)
        log = versions.log(reader, dataset)
        may_see_rows = view.caller.may("data.read")
        aside = quarantine.listing(reader, dataset, version=version, limit=_REASONS)
        findings = lineage.findings(reader, dataset)
        batches = labels.pending(reader, dataset)
    newest = next((v for v in log if v.published), None)
    chosen = next((v for v in log if v.number == version), None) if version is not None else newest
    return view.page(
        "dataset.html",
        f"Dataset {dataset}",
        dataset=defined,
        log=log[:_VERSIONS],
        more=max(0, len(log) - _VERSIONS),
        newest=newest,
        chosen=chosen,
        version=version,
        aside=aside,
        rules=[contracts.words(rule) for rule in defined.rules],
        findings=findings,
        unfolded=sum(batch.labels for batch in batches),
        may_see_rows=may_see_rows,
    )


ROUTES = [listing, show]
