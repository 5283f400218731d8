import { writeSync } from "node:fs";
import { RandloraError } from "../../files/errors.ts";
import { openLibc } from "../../files/libc.ts";
import { endJoined } from "../../mpi/join.ts";
import { Screen } from "../screen.ts";
import { createStyle } from "../style.ts";
import { ErrorReport } from "./error-report.ts";
import type { Program } from "./names.ts";
import { run } from "./run.ts";

/** Signals that ask the program to stop, and the exit status after them: 128 + the signal's number, as in a shell. */
const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const;
/**
 * A terminal signals the npm package's launcher and npm as well, and both pass it on to us: what follows so closely is no
 * second Ctrl-C. Programs that start the binary itself signal it once.
 */
const ECHO_MS = process.env["RANDLORA_LAUNCHER"] === undefined ? 0 : 500;
/** After the end of the terminal: an SSH session that was closed or lost. */
const HANGUP_STATUS = 129;

/**
 * Runs this process as the program: its arguments, its streams, its signals. Sets the exit status and lets the process
 * end by itself.
 *
 * @param leave ends the process at once; called on a second SIGINT or SIGTERM only
 */
export async function runProcess(program: Program, leave: (status: number) => void): Promise<void> {
  const stop = new AbortController();
  const screen = new Screen(process.stderr, process.env);
  const report = new ErrorReport(screen, createStyle(process.stderr, process.env));
  let stopped: number | undefined;
  const stopWith = (status: number): void => {
    stopped ??= status;
    process.exitCode = stopped;
    stop.abort();
  };
  let askedAt: number | undefined;
  for (const [name, status] of Object.entries(SIGNALS)) {
    process.on(name, () => {
      if (askedAt !== undefined && performance.now() - askedAt < ECHO_MS) return;
      if (askedAt !== undefined) {
        // The shell's prompt is not to follow on a line that is being drawn.
        if (process.stderr.isTTY && stopped !== HANGUP_STATUS) writeSync(process.stderr.fd, "\n");
        leave(status);
      }
      askedAt = performance.now();
      stopWith(status);
    });
  }
  // The kernel and the shell both send it, so a second one asks for nothing more.
  if (!ignoresHangup()) process.on("SIGHUP", () => stopWith(HANGUP_STATUS));

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
  // Of a terminal that is gone nothing else is to be expected.
  if (outputError === undefined || stopped === HANGUP_STATUS)
    // What nobody caught came first, and made the command end.
    process.exitCode = stopped ?? (Number(process.exitCode ?? 0) || status);
  await endJoined(Number(process.exitCode ?? 0));
}

function outputFailure(error: NodeJS.ErrnoException): RandloraError {
  return new RandloraError("file", `standard output: cannot be written (${error.code ?? error.message})`, "", {
    cause: error,
  });
}

const SIGHUP = 1;
const [SIG_DFL, SIG_IGN] = [0n, 1n];

/** Was this process told to live on when its terminal ends (`nohup`)? A listener for SIGHUP would undo that. */
function ignoresHangup(): boolean {
  const libc = openLibc({ signal: { args: ["i32", "u64"], returns: "u64" } });
  if (libc === undefined) return false;
  const isIgnored = libc.signal(SIGHUP, SIG_IGN) === SIG_IGN;
  if (!isIgnored) libc.signal(SIGHUP, SIG_DFL);
  return isIgnored;
}
