// In the folder that is its argument: generates the types, compiles session.ts and example.ts with them, and runs both.

import { spawnSync } from "node:child_process";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const packages = join(here, "node_modules");
const description = join(here, "../../../docs/openapi.yaml");
const folder = process.argv[2];
symlinkSync(packages, join(folder, "node_modules"));

node(join(packages, "openapi-typescript/bin/cli.js"), description, "--output", "flag-schedules.d.ts");
node(join(packages, "typescript/bin/tsc"), "--project", ".");
node("example.js");
node("session.js");

function node(...command) {
  const { status } = spawnSync(process.execPath, command, { cwd: folder, stdio: "inherit" });
  if (status !== 0) {
    console.error(`node ${command.join(" ")} failed`);
    process.exit(1);
  }
}
