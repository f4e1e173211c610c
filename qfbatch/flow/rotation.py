"""What a call's outcome means for its endpoint: who stays in a model's rotation, and who is told.

The states are `limits.health`; which endpoint a row takes is `admission`.
"""

from __future__ import annotations

from qfbatch.flow.admission import Door
from qfbatch.flow.routing import Route
from qfbatch.progress.events import EndpointBack, EndpointLeft, Observer
from qfbatch.records import Action, Failure
from qfbatch.retry import Outcome


def take_note(
    route: Route, door: Door, outcome: Outcome, *, started: float, now: float, observe: Observer
) -> None:
    """Keep count of an endpoint's failures; say once when it leaves the rotation, and when it is back.

    Args:
        route: the model's.
        door: the endpoint's.
        outcome: of a call there.
        started: when the call started, on the loop's clock.
        now: on the loop's clock.
        observe: told of an endpoint that leaves or comes back.
    """
    health = door.health
    name = route.targets[door.number].settings.name
    if not isinstance(outcome, Failure) or outcome.action in (Action.ROW, Action.THROTTLE):
        if health.answered():
            observe(EndpointBack(route.model.name, name))
        return
    was_up = health.up
    rest_s = None
    if outcome.action is Action.JOB:
        door.refused()
    elif outcome.action is Action.RETRY:
        rest_s = health.failed(started=started, now=now)
    if was_up and not health.up:
        observe(
            EndpointLeft(
                model=route.model.name,
                endpoint=name,
                kind=outcome.kind,
                code=outcome.code,
                message=outcome.message,
                again_in_s=rest_s,
                left=sum(other.health.up for other in route.lane.doors),
            )
        )
