"""What the description says in words only, said to schemathesis: rules about time, and where a cursor comes from.

A request that is meant to be valid is made so; one that is meant to be refused is left as it is.
"""

from datetime import datetime, timedelta, timezone

import schemathesis

# The same in all of a run, so that an `Idempotency-Key` may meet the same body again.
TOMORROW = datetime.now(timezone.utc) + timedelta(days=1)


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if isinstance(case.body, dict) and case.method == "POST":
        be_in_time(case.body)
    # A cancel has one reason.
    if isinstance(case.body, dict) and case.method == "DELETE" and case.body.get("reason") is not None and case.query:
        case.query.pop("reason", None)
    if case.query:
        # Only pages hand out cursors.
        case.query.pop("cursor", None)
        # `to` is later than `from`.
        if case.query.get("from") is not None:
            case.query.pop("to", None)


def be_in_time(body):
    """`scheduled_at` is later than now and at most 366 days ahead, `apply_by` is later than that."""
    body["scheduled_at"] = TOMORROW.isoformat()
    if body.get("apply_by") is not None:
        body["apply_by"] = (TOMORROW + timedelta(hours=1)).isoformat()
