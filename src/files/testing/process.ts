// Processes that tests start and wait for.

/** What a finished process left behind. */
export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProcessOptions {
  /** Default: the process's own. */
  readonly cwd?: string | undefined;
  /** Beside {@link cleanEnvironment}. */
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string | undefined;
}

/** The environment of a test process: this one's without what would change a program's behavior, but with what `npm run test:cpu-codes` sets. */
export function cleanEnvironment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  const entries = Object.entries(process.env).flatMap(([key, value]): [string, string][] =>
    value === undefined || /^(RANDLORA_(?!CPU_CODE$)|NO_COLOR$|FORCE_COLOR$|BUN_JSC_)/.test(key) ? [] : [[key, value]],
  );
  return { ...Object.fromEntries(entries), ...extra };
}

/** Starts a command whose output is read. */
export function start(command: readonly string[], { cwd, env, stdin }: ProcessOptions = {}) {
  return Bun.spawn([...command], {
    ...(cwd !== undefined && { cwd }),
    env: cleanEnvironment(env),
    stdin: stdin === undefined ? "ignore" : new Blob([stdin]),
    stdout: "pipe",
    stderr: "pipe",
  });
}

/** Reads a started process to its end. */
export async function ended(child: ReturnType<typeof start>): Promise<Outcome> {
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { status, stdout, stderr };
}

/** Runs a command to its end. */
export const runToEnd = (command: readonly string[], options: ProcessOptions = {}): Promise<Outcome> =>
  ended(start(command, options));
