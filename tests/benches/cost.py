"""What a stack costs a month, from measured durations and list prices: the model of the picture `docs/performance/cost.svg`.

Without the database, interface endpoints, the dashboard, storage of logs, data transfer, and the free tier.
"""

import math
import pathlib
import re

# US dollars in us-east-1, arm64, first tier, as listed in November 2026.
PRICES = {
    "Lambda, a GB-second": 0.0000133334,
    "Lambda, a request": 0.20e-6,
    "HTTP API, a request": 1.00e-6,
    "CloudWatch Logs, a GB": 0.50,
    "custom metric": 0.30,
    "alarm, for each of its metrics": 0.10,
    "composite alarm": 0.50,
}
# Metrics are metered by the hour: those of the daily verification hardly count.
METRICS, ALARM_METRICS, COMPOSITE_ALARMS = 20, 30, 1
SETTINGS = ("off", "planned", "always")
TICKS = 730 * 60
# How long a tick looks ahead: WATCH_TIME in shared/src/processor/watch.rs.
WATCH_SECONDS = 65
# Lambda gives a whole vCPU to 1 769 MB, and less in proportion; measured was on a whole core.
WHOLE_VCPU_MB = 1769
# Of Lambda's own lines about an invocation, and of the access log about a request.
PLATFORM_BYTES, ACCESS_LOG_BYTES = 700, 600


def memory_mb(function):
    """What `template.yaml` gives a function, such as `CreateScheduleFunction`."""
    template = pathlib.Path(__file__).resolve().parents[2] / "template.yaml"
    return int(re.search(rf"^  {function}:\n(?:(?!^  \S).*\n)*?      MemorySize: (\d+)", template.read_text("utf-8"), re.MULTILINE)[1])


class Model:
    """`billed` is the series of the subject of that name: milliseconds and bytes of log lines of each kind of call."""

    def __init__(self, billed):
        self.billed = billed
        self.event_bytes = billed["bytes of an audit event"][0]

    def seconds(self, call, function):
        """An upper bound: as if all of the time were spent computing, on the function's part of a vCPU."""
        return math.ceil(self.billed[call][0] * WHOLE_VCPU_MB / memory_mb(function)) / 1000

    def lambda_cost(self, seconds, function):
        return seconds * memory_mb(function) / 1024 * PRICES["Lambda, a GB-second"]

    def request(self, call, function):
        """One request to the API."""
        logs = PLATFORM_BYTES + ACCESS_LOG_BYTES + self.billed[call][1]
        return (
            PRICES["HTTP API, a request"]
            + PRICES["Lambda, a request"]
            + self.lambda_cost(self.seconds(call, function), function)
            + logs / 1e9 * PRICES["CloudWatch Logs, a GB"]
        )

    def schedule(self):
        """From its creation and one look at the list to its application, with both audit events."""
        function = "ScheduleProcessorFunction"
        applying = (self.seconds("tick with 100 due", function) - self.seconds("idle tick", function)) / 100
        return (
            self.request("create", "CreateScheduleFunction")
            + self.request("list", "ListSchedulesFunction")
            + self.lambda_cost(applying, function)
            + 2 * self.event_bytes / 1e9 * PRICES["CloudWatch Logs, a GB"]
        )

    def waiting(self, setting, schedules):
        """Seconds that a tick waits on average, with so many schedules a month at random times, planned in advance."""
        if setting != "planned":
            return WATCH_SECONDS if setting == "always" else 0
        rate = schedules / TICKS / 60
        return WATCH_SECONDS - -math.expm1(-rate * WATCH_SECONDS) / rate

    def ticks(self, setting, schedules):
        function = "ScheduleProcessorFunction"
        seconds = self.seconds("idle tick", function) + self.waiting(setting, schedules)
        logs = PLATFORM_BYTES + self.billed["idle tick"][1]
        each = PRICES["Lambda, a request"] + self.lambda_cost(seconds, function) + logs / 1e9 * PRICES["CloudWatch Logs, a GB"]
        return TICKS * each

    def fixed(self):
        return (
            METRICS * PRICES["custom metric"]
            + ALARM_METRICS * PRICES["alarm, for each of its metrics"]
            + COMPOSITE_ALARMS * PRICES["composite alarm"]
        )

    def month(self, setting, schedules):
        return self.fixed() + self.ticks(setting, schedules) + schedules * self.schedule()
