import { RandloraError } from "../errors.ts";
import { createLog } from "../terminal/log.ts";
import { createProgress, silentProgress } from "../terminal/progress.ts";
import { type Screen, SILENT } from "../terminal/screen.ts";
import { columnsOf, createStyle, type OutputStream } from "../terminal/style.ts";
import { readConfig } from "./config.ts";
import type { Context } from "./context.ts";
import type { ErrorReport } from "./error-report.ts";
import { GLOBAL_OPTIONS } from "./globals.ts";
import { NO_FILE, settle } from "./layers.ts";
import { misspeltVariables, type Program } from "./names.ts";
import { parse, type Given, type Request } from "./parse.ts";
import type { ValueOf } from "./option.ts";

/** What a run takes from the process it lives in. */
export interface Host {
  /** The command line without the program's name. */
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  /** Owns stderr. */
  readonly screen: Screen;
  readonly report: ErrorReport;
  /** Aborted when the process is told to stop. */
  readonly signal: AbortSignal;
}

/**
 * Runs one command line from parsing to the last error message.
 *
 * @returns the exit status: 0 done, 1 failed, 2 wrong usage
 */
export async function run(program: Program, host: Host): Promise<number> {
  try {
    const outStyle = createStyle(host.stdout, host.environment);
    const columns = host.stdout.isTTY === true ? columnsOf(host.stdout) : 100;
    const request = parse(program, host.argv, { columns, bold: outStyle.bold, dim: outStyle.dim });
    if (request.kind !== "run") {
      host.stdout.write(request.text);
      return 0;
    }
    await runCommand(program, request, host);
    return 0;
  } catch (error) {
    host.screen.live("");
    // A command that was told to stop has nothing to explain: the exit status says it all.
    if (host.signal.aborted && !(error instanceof RandloraError)) return 1;
    return host.report.explain(error);
  }
}

async function runCommand(program: Program, request: Request & { kind: "run" }, host: Host) {
  const globals = (file: typeof NO_FILE): Globals => {
    const settled = settleGlobals(request.given, host, file);
    host.report.verbose = settled.verbose;
    return settled;
  };
  const file = readConfig(program, request.path, globals(NO_FILE).config);
  const settled = globals(file);
  const options = settle(request.command.options, { given: request.given, environment: host.environment, file });
  const definitions = Object.entries(request.command.arguments);
  const args = Object.fromEntries(definitions.map(([key, { read }], at) => [key, read(request.positionals[at] ?? [])]));
  const context = createContext(settled, host);
  for (const { variable, meant } of misspeltVariables(program, host.environment)) {
    context.log.warn(`${variable} is no option of any command; did you mean ${meant}?`);
  }
  await request.command.invoke(args, options, context);
}

type Globals = { readonly [K in keyof typeof GLOBAL_OPTIONS]: ValueOf<(typeof GLOBAL_OPTIONS)[K]> };

function settleGlobals(given: Given, host: Host, file: typeof NO_FILE): Globals {
  // `settle` reads every key by its own definition, so the values have the definitions' types.
  return settle(GLOBAL_OPTIONS, { given, environment: host.environment, file }) as Globals;
}

function createContext(globals: Globals, host: Host): Context {
  const { json, quiet, verbose, gpu, profile } = globals;
  const { stdout, screen } = host;
  let answered = false;
  const write = (text: string): void => {
    screen.hide();
    stdout.write(text);
  };
  return {
    print: (text) => (json ? undefined : write(text)),
    result(data, render) {
      if (answered) throw new Error("a command gave two results");
      answered = true;
      if (json) write(`${JSON.stringify(data, null, stdout.isTTY === true ? 2 : 0)}\n`);
      else if (render !== undefined) write(render());
    },
    log: createLog(screen, createStyle(host.stderr, host.environment), { quiet, verbose }),
    progress: (spec) => (quiet ? silentProgress() : createProgress(screen, spec)),
    screen: quiet ? SILENT : screen,
    style: createStyle(stdout, host.environment),
    columns: columnsOf(stdout),
    signal: host.signal,
    gpu,
    json,
    quiet,
    verbose,
    profile,
  };
}
