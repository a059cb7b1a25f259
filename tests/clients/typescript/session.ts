// Create, list and cancel with the generated types, a problem of the service, and every answer of the gateway itself.

import assert from "node:assert/strict";

import createClient from "openapi-fetch";
import type { components, paths } from "./flag-schedules.js";

type Schemas = components["schemas"];

const headers = { Authorization: `Bearer ${process.env.ADMIN_TOKEN}` };
const client = createClient<paths>({ baseUrl: process.env.API_URL, headers });
const flag = { flagKey: "new-checkout" };
const schedules = "/api/admin/flags/{flagKey}/schedule";
const schedule = "/api/admin/flags/{flagKey}/schedule/{scheduleId}";
const tomorrow = new Date(Date.now() + 86_400_000).toISOString();

// Whatever the error is, its kind can be told by the types alone.
function told(error: Schemas["Problem"] | Schemas["GatewayError"]): string {
  return "code" in error ? error.code : `gateway: ${error.message}`;
}

const created = await client.POST(schedules, {
  params: { path: flag, header: { "Idempotency-Key": crypto.randomUUID() } },
  body: { scheduled_at: tomorrow, updates: { enabled: true, rollout_percentage: 25 }, reason: "a test" },
});
assert.equal(created.response.status, 201);
assert(created.data);
const enabled: boolean | undefined = created.data.updates?.enabled;
const percentage: number | undefined = created.data.updates?.rollout_percentage;
assert.deepEqual([enabled, percentage, created.data.status], [true, 25, "pending"]);
const reason: string | null = created.data.reason;
assert.equal(reason, "a test");

const listed = await client.GET(schedules, { params: { path: flag, query: { status: "pending", limit: 200 } } });
assert(listed.data);
assert(listed.data.schedules.some(({ id }) => id === created.data.id));
const cursor: string | null = listed.data.next_cursor;
assert.equal(cursor, null);

const path = { ...flag, scheduleId: created.data.id };
const cancelled = await client.DELETE(schedule, { params: { path }, body: { reason: "enough" } });
assert.equal(cancelled.data?.status, "cancelled");

const again = await client.DELETE(schedule, { params: { path } });
assert(again.error && "code" in again.error && again.error.code === "schedule_not_pending");
const status: 409 = again.error.status;
assert.deepEqual([status, again.error.schedule.cancel_reason], [409, "enough"]);

const invalid = await client.POST(schedules, {
  params: { path: flag },
  body: { scheduled_at: tomorrow, updates: { rollout_percentage: 101 } },
});
assert(invalid.error && "code" in invalid.error && invalid.error.code === "invalid_request");
assert.equal(invalid.error.errors[0]?.pointer, "/updates/rollout_percentage");

const unknown = await client.GET(schedules, { params: { path: { flagKey: "unknown" } } });
assert(unknown.error);
assert.equal(told(unknown.error), "flag_not_found");
const nobody = createClient<paths>({ baseUrl: process.env.API_URL });
const refused = await nobody.GET(schedules, { params: { path: flag } });
assert(refused.error);
assert.equal(told(refused.error), "unauthenticated");

for (const status of [401, 403, 404, 413, 429, 500, 503]) {
  const gateway = createClient<paths>({ baseUrl: `${process.env.GATEWAY_URL}/${status}`, headers });
  const answers = [
    await gateway.POST(schedules, { params: { path: flag }, body: { scheduled_at: tomorrow, updates: { enabled: true } } }),
    await gateway.GET(schedules, { params: { path: flag } }),
    await gateway.DELETE(schedule, { params: { path } }),
  ];
  for (const { error, response } of answers) {
    assert.equal(response.status, status);
    assert(error);
    assert.equal(told(error), "gateway: from the gateway");
  }
}

// Mistakes that the compiler must find.
// @ts-expect-error a field that no change has
const misspelt: Schemas["Updates"] = { enable: true };
// @ts-expect-error a code that no problem has
const unknownCode: Schemas["Problem"]["code"] = "no_such_code";
// @ts-expect-error the gateway's answer has no code
const codeOfGateway: keyof Schemas["GatewayError"] = "code";
assert(misspelt && unknownCode && codeOfGateway);
console.log("the session is over");
