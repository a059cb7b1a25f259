//! What `make run` prints when all is ready.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// Where things are, and commands for another terminal. No command has a comment: zsh would run it.
///
/// `containers` is where containers would reach this machine, when they do not yet.
pub fn text(
    url: &str,
    token: &str,
    env: &Path,
    folder: &Path,
    tick: Duration,
    containers: Option<IpAddr>,
) -> String {
    let (env, logs) = (env.display(), folder.join("functions.log").display().to_string());
    let every = tick.as_secs();
    // Time to look at the schedule, and to cancel it.
    let delay = 30;
    let containers = containers.map_or_else(String::new, |address| {
        format!("SAM local needs the address of docker0: CONTAINERS_AT={address} make run\n")
    });
    format!(
        r#"
The flag schedule service is ready at {url}
Its API can be tried in a browser, signed in as an admin: {url}/docs
A tick every {every} s waits for what comes due and applies it. Logs of the functions: {logs}
{containers}Admin token, valid for twelve hours: {token}

In another terminal, load the settings and tokens:

. '{env}'

Turn the flag new-checkout on for a quarter of the users, {delay} s from now:

AT=$(date -u -d '+{delay} seconds' +%FT%TZ 2>/dev/null || date -u -v+{delay}S +%FT%TZ)
SCHEDULE=$(curl -sS "$API_URL/api/admin/flags/new-checkout/schedule" -H "Authorization: Bearer $ADMIN_TOKEN" -H 'Content-Type: application/json' -d "{{\"scheduled_at\": \"$AT\", \"updates\": {{\"enabled\": true, \"rollout_percentage\": 25}}, \"reason\": \"first users\"}}"); echo "$SCHEDULE"

List the schedules of the flag:

curl -sS "$API_URL/api/admin/flags/new-checkout/schedule" -H "Authorization: Bearer $ADMIN_TOKEN"; echo

Cancel the schedule, as long as it is pending:

curl -sS -X DELETE "$API_URL/api/admin/flags/new-checkout/schedule/$(echo "$SCHEDULE" | sed 's/.*"id":"\([^"]*\)".*/\1/')" -H "Authorization: Bearer $ADMIN_TOKEN"; echo

Audit events as they arrive (Ctrl-C stops everything):
"#
    )
}
