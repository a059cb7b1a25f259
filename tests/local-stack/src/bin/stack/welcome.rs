//! What `make run` tells when all is ready.

use std::path::Path;
use std::time::Duration;

/// Where things are, and lines to paste into another terminal.
pub fn text(url: &str, token: &str, env: &Path, folder: &Path, tick: Duration) -> String {
    let (tick, env, logs) =
        (tick.as_secs(), env.display(), folder.join("functions.log").display().to_string());
    format!(
        r#"
The flag schedule service is ready at {url}
What is due is applied every {tick} s. Function logs: {logs}

Admin token, good for twelve hours:

{token}

In another terminal (`new-checkout` and `dark-mode` are there to play with):

. '{env}'

# turn a flag on for a quarter of the users, one minute from now
AT=$(date -u -d '+1 minute' +%FT%TZ 2>/dev/null || date -u -v+1M +%FT%TZ)
SCHEDULE=$(curl -sS "$API_URL/api/admin/flags/new-checkout/schedule" -H "Authorization: Bearer $ADMIN_TOKEN" -H 'Content-Type: application/json' -d "{{\"scheduled_at\": \"$AT\", \"updates\": {{\"enabled\": true, \"rollout_percentage\": 25}}, \"reason\": \"first users\"}}"); echo "$SCHEDULE"

# list the flag's schedules
curl -sS "$API_URL/api/admin/flags/new-checkout/schedule" -H "Authorization: Bearer $ADMIN_TOKEN"

# change your mind
curl -sS -X DELETE "$API_URL/api/admin/flags/new-checkout/schedule/$(echo "$SCHEDULE" | sed 's/.*"id":"\([^"]*\)".*/\1/')" -H "Authorization: Bearer $ADMIN_TOKEN"

Audit events as they arrive (Ctrl-C stops everything):
"#
    )
}
