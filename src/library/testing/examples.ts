import { join } from "node:path";
import { ended } from "../../files/testing/process.ts";

/** The TypeScript of docs/library.md, example by example, in their order: later ones need what earlier ones wrote. */
export async function libraryExamples(): Promise<string[]> {
  const page = await Bun.file(join(import.meta.dir, "../../../docs/library.md")).text();
  return [...page.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code = ""]) => code);
}

/** Runs an example in a folder in which `randlora` is installed. */
export async function runExample(folder: string, code: string, env: Readonly<Record<string, string | undefined>>) {
  await Bun.write(join(folder, "example.ts"), code);
  return await ended(
    Bun.spawn([process.execPath, "example.ts"], { cwd: folder, env, stdin: "ignore", stdout: "pipe", stderr: "pipe" }),
  );
}

/** What the examples print. */
export const EXAMPLE_OUTPUTS: readonly RegExp[] = [
  /^step 1: \d\.\d{3}\nstep 2: \d\.\d{3}\nstep 3: \d\.\d{3}\n\d+ parameters, finished\n$/,
  /^(merging \d+ \d+\n)+8 of 38 tensors in .*ahoy-merged\n$/,
  /.\n?4\n$/,
  /^\d\.\d{3}\nhttp:\S+ \[ "embedded", "ahoy" \]\n$/,
  /^file .*nowhere.*\n$/,
];
