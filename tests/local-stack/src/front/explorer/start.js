// Swagger UI, signed in as an admin, with forms that can be sent to this stack as they are.

// Time to read the form of a create before it is sent.
const SOON = 2 * 60 * 1000;

function adapt(description) {
  // The origin of the page, so that CORS does not apply.
  description.servers = [{ url: "/", description: "The local stack" }];
  visit(description);
  return description;
}

function visit(node) {
  if (node === null || typeof node !== "object") return;
  // Swagger UI fills examples in. Only the flag exists here: no schedule has the id, and an idempotency key is for one create.
  if (node.in && node.name !== "flagKey") delete node.example;
  for (const { example, examples } of Object.values(node.requestBody?.content ?? {})) {
    postpone(example);
    Object.values(examples ?? {}).forEach(({ value }) => postpone(value));
  }
  Object.values(node).forEach(visit);
}

const filledIn = new Set();

// Both times move by the same amount.
function postpone(body) {
  if (!body?.scheduled_at) return;
  const by = Date.now() + SOON - Date.parse(body.scheduled_at);
  for (const name of ["scheduled_at", "apply_by"]) {
    if (body[name]) body[name] = new Date(Date.parse(body[name]) + by).toISOString();
  }
  filledIn.add(body.scheduled_at);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

// A time that nobody has typed may have passed while the page was read.
function refresh(request) {
  const body = typeof request.body === "string" && request.body.startsWith("{") ? parsed(request.body) : {};
  if (filledIn.has(body.scheduled_at) && Date.parse(body.scheduled_at) < Date.now() + 5000) {
    postpone(body);
    request.body = JSON.stringify(body, null, 2);
  }
  return request;
}

const Adapted = () => ({
  statePlugins: { spec: { wrapActions: { updateJsonSpec: (update) => (json) => update(adapt(json)) } } },
});

const ui = SwaggerUIBundle({
  dom_id: "#explorer",
  url: "/docs/openapi.yaml",
  plugins: [Adapted],
  // With it, a page that is opened at an operation lacks the parameters of its path.
  deepLinking: false,
  requestInterceptor: refresh,
  defaultModelsExpandDepth: 0,
  validatorUrl: "none",
  onComplete: () => ui.preauthorizeApiKey("bearer", "$ADMIN_TOKEN"),
});
