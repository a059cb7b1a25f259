"""Create, list and cancel with the generated client, a problem of the service, every answer of the gateway itself, and rows
that another tool wrote."""

import os
from datetime import datetime, timedelta, timezone
from uuid import uuid4

from flag_schedules import AuthenticatedClient, Client
from flag_schedules.api.schedules import cancel_schedule, create_schedule, list_schedules
from flag_schedules.models import (
    Cancellation,
    FlagNotFoundProblem,
    GatewayError,
    InvalidRequestProblem,
    NewSchedule,
    NotPendingProblem,
    Schedule,
    SchedulePage,
    Status,
    StoredUpdates,
    UnauthenticatedProblem,
    Updates,
)

FLAG = "new-checkout"
TOMORROW = datetime.now(timezone.utc) + timedelta(days=1)
TOKEN = os.environ["ADMIN_TOKEN"]


def main() -> None:
    client = AuthenticatedClient(base_url=os.environ["API_URL"], token=TOKEN)
    new = NewSchedule(scheduled_at=TOMORROW, updates=Updates(enabled=True, rollout_percentage=25), reason="a test")

    created = create_schedule.sync(FLAG, client=client, body=new, idempotency_key=str(uuid4()))
    assert isinstance(created, Schedule), created
    assert isinstance(created.updates, StoredUpdates), created.updates
    assert (created.updates.enabled, created.updates.rollout_percentage) == (True, 25)
    assert created.status is Status.PENDING and isinstance(created.scheduled_at, datetime), created

    page = list_schedules.sync(FLAG, client=client, status=Status.PENDING, limit=200)
    assert isinstance(page, SchedulePage) and created in page.schedules, page

    cancelled = cancel_schedule.sync(FLAG, created.id, client=client, body=Cancellation(reason="enough"))
    assert isinstance(cancelled, Schedule) and cancelled.status is Status.CANCELLED, cancelled

    again = cancel_schedule.sync(FLAG, created.id, client=client)
    assert isinstance(again, NotPendingProblem) and again.schedule.cancel_reason == "enough", again

    new.updates.rollout_percentage = 101
    invalid = create_schedule.sync(FLAG, client=client, body=new)
    assert isinstance(invalid, InvalidRequestProblem), invalid
    assert invalid.errors[0].pointer == "/updates/rollout_percentage", invalid

    unknown = list_schedules.sync("unknown", client=client)
    assert isinstance(unknown, FlagNotFoundProblem) and unknown.code == "flag_not_found", unknown
    refused = list_schedules.sync(FLAG, client=Client(base_url=os.environ["API_URL"]))
    assert isinstance(refused, UnauthenticatedProblem), refused

    new.updates.rollout_percentage = 25
    for status in [401, 403, 404, 413, 429, 500, 503]:
        gateway = AuthenticatedClient(base_url=f"{os.environ['GATEWAY_URL']}/{status}", token=TOKEN)
        for answer in [
            create_schedule.sync_detailed(FLAG, client=gateway, body=new),
            list_schedules.sync_detailed(FLAG, client=gateway),
            cancel_schedule.sync_detailed(FLAG, created.id, client=gateway),
        ]:
            assert answer.status_code == status and isinstance(answer.parsed, GatewayError), answer
            assert answer.parsed.message == "from the gateway", answer

    for updates in [None, "nonsense", 7, [], {}, {"enabled": "yes"}, {"rolloutPercentage": 5}]:
        row = {**created.to_dict(), "updates": updates, "status": "paused", "error_code": None}
        assert Schedule.from_dict(row).to_dict() == row, updates


main()
