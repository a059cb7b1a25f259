// Parses every Mermaid diagram of the Markdown files that are its arguments, as GitHub does when it draws them.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { runInThisContext } from "node:vm";
import { JSDOM } from "jsdom";

// Mermaid is written for browsers: it defines a global, and cleans labels with the DOM.
const { window } = new JSDOM("");
Object.assign(globalThis, { window, document: window.document });
const script = createRequire(import.meta.url).resolve("@mermaid-js/tiny");
runInThisContext(readFileSync(script, "utf8"), { filename: script });
const { mermaid } = globalThis;

let faults = 0;
for (const file of process.argv.slice(2)) {
  const text = readFileSync(file, "utf8");
  for (const block of text.matchAll(/^ *```mermaid\n([^]*?)^ *```$/gm)) {
    const line = text.slice(0, block.index).split("\n").length;
    try {
      await mermaid.parse(block[1]);
    } catch (error) {
      faults += 1;
      console.error(`${file}:${line}: Mermaid cannot read this diagram: ${error.message}`);
    }
  }
}
process.exit(faults ? 1 : 0);
