// The program as tests run it: in this process, which costs no start, or in one of its own.
import { join } from "node:path";
import {
  cleanEnvironment,
  type Outcome,
  type ProcessOptions,
  runToEnd,
  start,
} from "../../src/files/testing/process.ts";
import { ErrorReport } from "../../src/terminal/options/error-report.ts";
import { run } from "../../src/terminal/options/run.ts";
import { Screen } from "../../src/terminal/screen.ts";
import { createStyle } from "../../src/terminal/style.ts";
import { program } from "../main.ts";

export const MAIN = join(import.meta.dir, "../main.ts");

/** The command line that starts the program. */
export const commandLine = (...args: readonly string[]): string[] => [process.execPath, MAIN, ...args];

/** Runs the program in a process of its own, to its end. */
export const spawned = (args: readonly string[], options: ProcessOptions = {}): Promise<Outcome> =>
  runToEnd(commandLine(...args), options);

/** Starts the program in a process of its own. */
export const startProgram = (args: readonly string[], options: ProcessOptions = {}) =>
  start(commandLine(...args), options);

/** Text that is written somewhere else than to a terminal. */
class Sink {
  text = "";
  write(text: string): void {
    this.text += text;
  }
}

/** The folder and the environment are the process's, so commands run one after another. */
let last: Promise<unknown> = Promise.resolve();

/** A device that is open in a moment, on every machine the same: its bits depend on no thread. */
const ONE_THREAD = { RANDLORA_DEVICE: "cpu", RANDLORA_THREADS: "1" };

/**
 * Runs the program in this process, on one thread of the CPU device unless something else is said; it has no stdin, and signals do
 * not reach it.
 */
export function randlora(args: readonly string[], options: Omit<ProcessOptions, "stdin"> = {}): Promise<Outcome> {
  const outcome = last.then(() => runHere(args, options));
  last = outcome.catch(() => undefined);
  return outcome;
}

async function runHere(args: readonly string[], { cwd, env }: ProcessOptions): Promise<Outcome> {
  const [folder, environment, exitCode] = [process.cwd(), { ...process.env }, process.exitCode];
  const [stdout, stderr] = [new Sink(), new Sink()];
  replaceEnvironment(cleanEnvironment({ ...ONE_THREAD, ...env }));
  try {
    if (cwd !== undefined) process.chdir(cwd);
    process.exitCode = 0;
    const screen = new Screen(stderr, process.env);
    const status = await run(program, {
      argv: args,
      environment: process.env,
      stdout,
      stderr,
      screen,
      report: new ErrorReport(screen, createStyle(stderr, process.env)),
      signal: new AbortController().signal,
    });
    return { status: Number(process.exitCode) || status, stdout: stdout.text, stderr: stderr.text };
  } finally {
    process.chdir(folder);
    replaceEnvironment(environment);
    process.exitCode = exitCode ?? 0;
  }
}

function replaceEnvironment(environment: Readonly<Record<string, string | undefined>>): void {
  for (const name of Object.keys(process.env)) if (!(name in environment)) delete process.env[name];
  Object.assign(process.env, environment);
}
