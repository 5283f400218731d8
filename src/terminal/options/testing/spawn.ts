import { join } from "node:path";

/** What a finished process left behind. */
export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export const SAMPLE = join(import.meta.dir, "sample.ts");

/** The environment of a test process: this one's without what would change a program's behavior, but with what `npm run test:cpu-codes` sets. */
export function cleanEnvironment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  const entries = Object.entries(process.env).flatMap(([key, value]): [string, string][] =>
    value === undefined || /^(RANDLORA_(?!CPU_CODE$)|NO_COLOR$|FORCE_COLOR$|BUN_JSC_)/.test(key) ? [] : [[key, value]],
  );
  return { ...Object.fromEntries(entries), ...extra };
}

/** Runs the sample program to its end. */
export async function sample(
  args: readonly string[],
  extra: { readonly env?: Readonly<Record<string, string>>; readonly cwd?: string } = {},
): Promise<Outcome> {
  const child = Bun.spawn([process.execPath, SAMPLE, ...args], {
    cwd: extra.cwd ?? import.meta.dir,
    env: cleanEnvironment(extra.env),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { status, stdout, stderr };
}
