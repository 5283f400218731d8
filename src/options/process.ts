import { writeSync } from "node:fs";
import { RandloraError } from "../errors.ts";
import { Screen } from "../terminal/screen.ts";
import { createStyle } from "../terminal/style.ts";
import { ErrorReport } from "./error-report.ts";
import type { Program } from "./names.ts";
import { run } from "./run.ts";

/** Signals that ask the program to stop, and the exit status after them: 128 + the signal's number, as in a shell. */
const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Runs this process as the program: its arguments, its streams, its signals. Sets the exit status and lets the process
 * end by itself.
 *
 * @param leave ends the process at once; called on a second signal only
 */
export async function runProcess(program: Program, leave: (status: number) => void): Promise<void> {
  const stop = new AbortController();
  const screen = new Screen(process.stderr, process.env);
  const report = new ErrorReport(screen, createStyle(process.stderr, process.env));
  let stopped: number | undefined;
  for (const [name, status] of Object.entries(SIGNALS)) {
    process.on(name, () => {
      if (stopped !== undefined) {
        // The shell's prompt is not to follow on a line that is being drawn.
        if (process.stderr.isTTY) writeSync(process.stderr.fd, "\n");
        leave(status);
      }
      stopped = status;
      process.exitCode = status;
      stop.abort();
    });
  }

  // A reader that has seen enough (`randlora … | head`) closes the pipe: stop the work, and keep quiet about it.
  let outputError: NodeJS.ErrnoException | undefined;
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (outputError !== undefined) return;
    outputError = error;
    stop.abort();
    if (error.code !== "EPIPE") process.exitCode = report.explain(outputFailure(error));
  });
  // Nobody is left to tell when stderr is gone.
  process.stderr.on("error", () => undefined);
  for (const event of ["uncaughtException", "unhandledRejection"]) {
    process.on(event, (error: unknown) => {
      process.exitCode = report.explain(error);
      stop.abort();
    });
  }

  const status = await run(program, {
    argv: process.argv.slice(2),
    environment: process.env,
    stdout: process.stdout,
    stderr: process.stderr,
    screen,
    report,
    signal: stop.signal,
  });
  if (outputError === undefined) process.exitCode = stopped ?? Math.max(status, Number(process.exitCode ?? 0));
}

function outputFailure(error: NodeJS.ErrnoException): RandloraError {
  return new RandloraError("file", `standard output: cannot be written (${error.code ?? error.message})`, "", {
    cause: error,
  });
}
