"""A project's definitions, applied whole: what a project file declares becomes what is wanted."""

from __future__ import annotations

from litestar import get, post
from litestar.params import JSONBody

from homeostat.api.access import Calling, needs
from homeostat.control import definitions as policies
from homeostat.data import datasets
from homeostat.delivery import definitions as delivery
from homeostat.foundation.database import Reader
from homeostat.pipelines import definitions as pipelines
from homeostat.project.definitions import Definitions

_TAGS = ["definitions"]


@get("/definitions", opt=needs("read"), sync_to_thread=True, tags=_TAGS)
def show(caller: Calling) -> Definitions:
    """Everything that is defined in the project now."""
    with caller.read() as reader:
        return gather(reader)


@post("/definitions", opt=needs("definitions.write"), sync_to_thread=True, status_code=200, tags=_TAGS)
def apply(caller: Calling, data: JSONBody[Definitions]) -> Definitions:
    """Apply a project: all of its definitions or, where one is wrong, none. The same again changes nothing."""
    caller.home.apply_definitions(caller.project, data, caller.name)
    with caller.read() as reader:
        return gather(reader)


def gather(reader: Reader) -> Definitions:
    """The definitions of the reader's project, of whichever files they came from."""
    wanted = policies.listing(reader)
    return Definitions(
        datasets=tuple(datasets.listing(reader)),
        pipelines=tuple(pipelines.listing(reader)),
        gates=tuple(delivery.gate_of(reader, policy.endpoint) for policy in wanted),
        rollouts={policy.endpoint: delivery.rollout_of(reader, policy.endpoint) for policy in wanted},
        policies=tuple(wanted),
    )


ROUTES = [show, apply]
