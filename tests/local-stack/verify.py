"""Invokes `verify-trail` of the running stack for the last 25 hours up to now: prints the result, and fails with one line if
there are findings or no result."""

import json
import os
import sys
import urllib.error
import urllib.request
from datetime import datetime, timezone

# A large trail takes minutes; the function's own limit.
LIMIT_IN_SECONDS = 900


def main():
    api_url = os.environ["API_URL"]
    # To the millisecond, for the function accepts no time to come.
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    request = urllib.request.Request(
        f"{api_url}/2015-03-31/functions/verify-trail/invocations", data=json.dumps({"to": now}).encode()
    )
    # No proxy is between this and a service on the same machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=LIMIT_IN_SECONDS) as response:
            answer = response.read()
    except urllib.error.HTTPError as error:
        answer = error.read()
    except OSError as error:
        return f"cannot reach {api_url}: {getattr(error, 'reason', error)}; is `make run` running?"
    return judge(answer)


def judge(answer):
    """What is wrong with a result; `None` if nothing is."""
    try:
        result = json.loads(answer)
    except ValueError:
        return f"the verification failed: {answer.decode(errors='replace')[:500]}"
    print(json.dumps(result, indent=2, ensure_ascii=False), flush=True)
    if "missing_count" not in result:
        reason = ": ".join(str(result[name]) for name in ("errorType", "errorMessage") if name in result)
        return f"the verification failed: {reason or 'the answer is no result'}"
    counts = {kind: result[f"{kind}_count"] for kind in ("missing", "unknown", "different")}
    if any(counts.values()):
        found = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        return f"the trail and the database contradict each other: {found}"
    if not result["complete"]:
        return "the time was up before everything was verified"
    return None


if __name__ == "__main__":
    sys.exit(main())
