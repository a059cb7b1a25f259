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

// Both times move by the same amount.
function postpone(body) {
  if (!body?.scheduled_at) return;
  const by = Date.now() + SOON - Date.parse(body.scheduled_at);
  for (const name of ["scheduled_at", "apply_by"]) {
    if (body[name]) body[name] = new Date(Date.parse(body[name]) + by).toISOString();
  }
}

const Adapted = () => ({
  statePlugins: { spec: { wrapActions: { updateJsonSpec: (update) => (json) => update(adapt(json)) } } },
});

const ui = SwaggerUIBundle({
  dom_id: "#explorer",
  url: "/docs/openapi.yaml",
  plugins: [Adapted],
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: "none",
  onComplete: () => ui.preauthorizeApiKey("bearer", "$ADMIN_TOKEN"),
});
