import { RandloraError } from "../../src/errors.ts";

/** One run of a command: seconds from spawn to exit, peak resident bytes as wait4 reports them, and its stdout. */
export interface Measurement {
  readonly seconds: number;
  readonly peakBytes: number;
  readonly stdout: string;
}

/** Run a command to its end and measure it. Throws when it fails: a failed run is no measurement. */
export async function measure(command: string[], env: Record<string, string> = {}): Promise<Measurement> {
  const start = performance.now();
  const child = Bun.spawn(command, {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...env },
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  const seconds = (performance.now() - start) / 1000;
  if (status !== 0) {
    throw new RandloraError("file", `${command.join(" ")} ended with status ${status}:\n${stderr.slice(-4000)}`);
  }
  return { seconds, peakBytes: child.resourceUsage()?.maxRSS ?? Number.NaN, stdout };
}

/** The middle value; the mean of the two middle ones of an even number. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [sorted[Math.ceil(sorted.length / 2) - 1], sorted[Math.floor(sorted.length / 2)]];
  return ((low ?? Number.NaN) + (high ?? Number.NaN)) / 2;
}
