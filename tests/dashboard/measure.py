"""Measures what the dashboard shows: starts a local stack, uses it for some minutes, and prints as JSON the dashboard and the alarms of the translated template,
the metric points, the failed schedules of the audit log group, and the beginning and end: `measure.py STACK MINUTES`.

Metrics of the service come from the lines that the functions print. Those of API Gateway are counted here, by the only client. Everything else is
measured by AWS only, and has no points. In the story, one transaction locks a flag until the end, and another one past the `apply_by` of its
flag's schedules.
"""

import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone

from cfnlint.decode import cfn_yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = ["new-checkout", "dark-mode", "search-v2", "gift-cards", "express-delivery", "recommendations"]
HELD, HELD_FOR_A_WHILE = "billing-v3", "invoice-export"
ALARMS = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
# No proxy is between this and a service on the same machine.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Stack:
    """A local stack of its own, and what was asked of it."""

    def __init__(self, program):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.folder = ROOT / ".local" / str(port)
        # What a shell has loaded from `.local/env` belongs to another stack.
        env = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        env |= {"PORT": str(port), "TICK_SECONDS": "60"}
        self.process = subprocess.Popen([program, "run"], cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
        while not (self.folder / "env").exists():
            if self.process.poll() is not None:
                sys.exit("the local stack did not start")
            time.sleep(0.2)
        lines = (self.folder / "env").read_text().splitlines()
        settings = (line.removeprefix("export ").split("=", 1) for line in lines)
        self.settings = {name: value.strip("'") for name, value in settings}
        self.points = []

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def send(self, url, headers, body=None, method=None):
        request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers, method=method)
        try:
            with OPENER.open(request, timeout=90) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, None

    def ask(self, path, body=None, method=None, token="ADMIN_TOKEN"):
        """A request to the API, counted as API Gateway and the filter on the access log count it."""
        token = self.settings.get(token, token)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        begin = time.time()
        status, answer = self.send(f"{self.settings['API_URL']}/api/admin{path}", headers, body, method)
        end = time.time()
        counts = {
            "Count": 1,
            "Latency": (end - begin) * 1000,
            "4xx": int(400 <= status < 500),
            "5xx": int(status >= 500),
            "RefusedCallers": int(status in (401, 403)),
        }
        self.points += [[name, "${Api}", end, [value]] for name, value in counts.items()]
        return answer

    def verify(self):
        """Verifies all that there is, not only what is older than some minutes."""
        self.send(f"{self.settings['API_URL']}/2015-03-31/functions/verify-trail/invocations", {}, {"to": soon(0)})

    def sql(self, text):
        """Runs statements as the owner of the database, without waiting for them."""
        command = [self.settings["PSQL"], "--quiet", self.settings["DATABASE_URL"], "--command", text]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def hold(self, flag, seconds):
        """A transaction that has changed a flag and does not end."""
        row = f"select from feature_flags where flag_key = '{flag}' for no key update"
        return self.sql(f"set statement_timeout = 0; begin; {row}; select pg_sleep({seconds}); rollback")

    def emitted(self):
        """The metric lines of the functions, as points."""
        for line in (self.folder / "functions.log").read_text().splitlines():
            if '"_aws"' not in line:
                continue
            line = json.loads(line)
            function = "".join(part.capitalize() for part in line["FunctionName"].split("-"))
            at = line["_aws"]["Timestamp"] / 1000
            for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]:
                value = line[metric["Name"]]
                values = value if isinstance(value, list) else [value]
                yield [metric["Name"], f"${{{function}Function}}", at, values]

    def failures(self):
        """The events of failed schedules in the audit log group, latest first."""
        headers = {
            "X-Amz-Target": "Logs_20140328.FilterLogEvents",
            "Content-Type": "application/x-amz-json-1.1",
            # The emulator reads the region here, and verifies no signature.
            "Authorization": f"AWS4-HMAC-SHA256 Credential=test/20260101/{self.settings['AWS_REGION']}/logs/aws4_request",
        }
        body, events = {"logGroupName": self.settings["AUDIT_LOG_GROUP"]}, []
        while True:
            _, page = self.send(self.settings["AWS_ENDPOINT_URL"], headers, body)
            events += [json.loads(event["message"]) for event in page["events"]]
            if not page.get("nextToken"):
                break
            body["nextToken"] = page["nextToken"]
        failed = [event for event in events if event["event_type"] == "flag_schedule.failed"]
        return sorted(failed, key=lambda event: event["occurred_at"], reverse=True)


def soon(seconds):
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def use(stack, chance, until):
    """One client among several: mostly creates, some cancels, lists, and requests that are refused."""
    while time.time() < until:
        flag = chance.choice(FLAGS)
        kind = chance.random()
        schedule = {
            "scheduled_at": soon(chance.uniform(2, 70)),
            "updates": {"rollout_percentage": chance.randrange(101), "enabled": True},
        }
        if kind < 0.08:
            schedule["expect"] = {"rollout_percentage": chance.randrange(101)}
        if kind < 0.55:
            created = stack.ask(f"/flags/{flag}/schedule", schedule)
            if created and kind > 0.47:
                stack.ask(f"/flags/{flag}/schedule/{created['id']}", method="DELETE")
        elif kind < 0.92:
            stack.ask(f"/flags/{flag}/schedule?limit=20")
        elif kind < 0.96:
            stack.ask(f"/flags/{flag}/schedule", token="not-a-token")
        elif kind < 0.98:
            stack.ask(f"/flags/{flag}/schedule", token="USER_TOKEN")
        else:
            stack.ask(f"/flags/{flag}/schedule", {"updates": {}})
        time.sleep(chance.expovariate(1.0))


def tell(stack, minutes):
    """The story; gives its beginning and end."""
    flags = ", ".join(f"('{flag}')" for flag in [*FLAGS[2:], HELD, HELD_FOR_A_WHILE])
    stack.sql(f"insert into feature_flags (flag_key) values {flags}").wait()
    begin = time.time()
    end = begin + minutes * 60
    clients = [threading.Thread(target=use, args=(stack, random.Random(seed), end)) for seed in range(3)]
    for client in clients:
        client.start()
    time.sleep(min(60, minutes * 10))
    stack.verify()
    held = [stack.hold(HELD, end - time.time()), stack.hold(HELD_FOR_A_WHILE, minutes * 20)]
    for after in (5, 20, 40):
        schedule = {"scheduled_at": soon(after), "updates": {"rollout_percentage": after}}
        stack.ask(f"/flags/{HELD}/schedule", schedule)
        stack.ask(f"/flags/{HELD_FOR_A_WHILE}/schedule", schedule | {"apply_by": soon(after + 30)})
    # A row of another tool.
    stack.sql(
        "insert into feature_flag_schedules (flag_id, scheduled_at, updates) "
        "select id, now() + interval '1 minute', '{\"rollout_percentage\": 400}' from feature_flags where flag_key = 'dark-mode'"
    )
    for waiting in [*clients, *held]:
        waiting.join() if isinstance(waiting, threading.Thread) else waiting.wait()
    stack.verify()
    return begin, time.time()


def translated():
    """The dashboard and the alarms of the template, as CloudFormation would carry it out."""
    template = json.dumps(cfn_yaml.load(str(ROOT / "template.yaml")))
    command = [sys.executable, str(ROOT / "tests/deploy/deployed.py")]
    deployed = subprocess.run(command, input=template, stdout=subprocess.PIPE, check=True, text=True)
    resources = json.loads(deployed.stdout)["Resources"]
    alarms = {id: resource["Properties"] for id, resource in resources.items() if resource["Type"] in ALARMS}
    return json.loads(resources["Dashboard"]["Properties"]["DashboardBody"]), alarms


def main():
    program, minutes = sys.argv[1], float(sys.argv[2])
    dashboard, alarms = translated()
    stack = Stack(program)
    try:
        begin, end = tell(stack, minutes)
        points = [point for point in [*stack.points, *stack.emitted()] if begin <= point[2] <= end]
        measured = {"begin": begin, "end": end, "points": points, "failures": stack.failures()}
    finally:
        stack.stop()
    json.dump({"dashboard": dashboard, "alarms": alarms} | measured, sys.stdout)


if __name__ == "__main__":
    main()
