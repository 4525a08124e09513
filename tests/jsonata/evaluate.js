// Evaluates JSONata expressions for the tests: one request a line in, one answer a line out.
"use strict";

const jsonata = require("jsonata");
const readline = require("node:readline");

const compiled = new Map();

async function answer(line) {
  const { expression, states } = JSON.parse(line);
  try {
    if (!compiled.has(expression)) compiled.set(expression, jsonata(expression));
    const value = await compiled.get(expression).evaluate({}, { states });
    return { defined: value !== undefined, value: value === undefined ? null : value };
  } catch (error) {
    return { error: `${error.code}: ${error.message}` };
  }
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(JSON.stringify(await answer(line)) + "\n");
  }
})();
