import { RandloraError } from "../../src/files/errors.ts";

/** One run of a command. */
export interface Measurement {
  /** From spawn to exit. */
  readonly seconds: number;
  /** Processor time of all its threads. */
  readonly coreSeconds: number;
  /** Resident bytes as wait4 reports them. */
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
  const used = child.resourceUsage();
  const coreSeconds = Number(used?.cpuTime.total ?? Number.NaN) / 1e6;
  return { seconds, coreSeconds, peakBytes: used?.maxRSS ?? Number.NaN, stdout };
}

/** The middle value; the mean of the two middle ones of an even number. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [sorted[Math.ceil(sorted.length / 2) - 1], sorted[Math.floor(sorted.length / 2)]];
  return ((low ?? Number.NaN) + (high ?? Number.NaN)) / 2;
}
