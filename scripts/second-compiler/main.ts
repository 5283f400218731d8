// Runs in Deno: `main.js TEST…` runs the tests, bundled beside it, file by file, and prints what `bun test` prints.
import { runFile, summary } from "./bun-test.ts";

// The little that is asked of Bun itself.
Object.assign(globalThis, {
  Bun: { sleep: (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds)), sleepSync() {} },
});

for (const path of process.argv.slice(2)) {
  await runFile(path, () => import(new URL(`../../${path.replace(/\.ts$/, ".js")}`, import.meta.url).href));
}
process.exit(summary());
