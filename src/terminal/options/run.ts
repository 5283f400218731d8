import { Contradiction, RandloraError } from "../../files/errors.ts";
import { EndedByOther } from "../../mpi/processes.ts";
import { createLog, type Screen, SILENT } from "../screen.ts";
import { createProgress, silentProgress } from "../progress.ts";
import { columnsOf, createStyle, type OutputStream, steerless } from "../style.ts";
import { readConfig } from "./config.ts";
import type { Context } from "./command.ts";
import type { ErrorReport } from "./error-report.ts";
import { GLOBAL_OPTIONS } from "./globals.ts";
import { type ConfigLayer, foreignSettings, settle, settleContradiction, sourcesOf, withSources } from "./layers.ts";
import { misspeltVariables, type Program } from "./names.ts";
import { type Given, parse, type Request } from "./parse.ts";
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
 * @returns the exit status: 0 done, else that of `EXIT_STATUS`
 */
export async function run(program: Program, host: Host): Promise<number> {
  try {
    const outStyle = createStyle(host.stdout, host.environment);
    const columns = host.stdout.isTTY === true ? columnsOf(host.stdout) : 100;
    const request = parse(program, host.argv, { columns, bold: outStyle.bold, dim: outStyle.dim });
    if (request.kind !== "run") {
      writeTo(host.stdout, request.text);
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
  const { command, given, path, positionals } = request;
  const globals = (files: readonly ConfigLayer[]): Globals => {
    const settled = settleGlobals(given, host, files);
    host.report.verbose = settled.verbose;
    return settled;
  };
  const { config } = globals([]);
  const spare = config === undefined && command.goesOnWithoutConfig;
  const { files, failure } = tryConfig(spare, () => readConfig(program, path, config, host.environment));
  const settled = globals(files);
  const context = createContext(settled, host);
  const dropped = new Set<string>();
  const layers = { given, environment: host.environment, files, dropped };
  const all = { ...GLOBAL_OPTIONS, ...command.options };
  let options = settle(command.options, layers);
  const definitions = Object.entries(command.arguments);
  const args = Object.fromEntries(definitions.map(([key, { read }], at) => [key, read(positionals[at] ?? [])]));
  if (failure !== undefined) context.log.warn(`${failure.message}; options are not read from files`);
  for (const { variable, meant } of misspeltVariables(program, host.environment)) {
    context.log.warn(`${variable} is no option of any command; did you mean ${meant}?`);
  }
  const foreign = foreignSettings(all, layers);
  if (foreign !== undefined) context.log.announce(foreign);
  // Values are not shown: some are secrets.
  for (const line of sourcesOf(all, layers)) context.log.verbose(line);
  for (let done = false; !done;) {
    try {
      await command.invoke(args, options, context);
      done = true;
    } catch (thrown) {
      const found = contradictionOf(thrown);
      const weak = found && settleContradiction(found, command.options, layers);
      if (weak === undefined) throw withSources(thrown, all, layers);
      dropped.add(weak.key);
      options = settle(command.options, layers);
      if (found === thrown) context.log.info(weak.note);
    }
  }
  if (settled.verbose) await tellCosts(context);
}

/** Of the processes that share a command all begin anew; the one that met it says why. */
function contradictionOf(thrown: unknown): Contradiction | undefined {
  if (thrown instanceof EndedByOther) return thrown.contradiction;
  return thrown instanceof Contradiction ? thrown : undefined;
}

async function tellCosts({ log }: Context): Promise<void> {
  const { peakRssBytes } = await import("../profile.ts");
  const { formatBytes, formatDuration } = await import("../format.ts");
  const seconds = performance.now() / 1000;
  log.verbose(`took ${formatDuration(seconds)}, at most ${formatBytes(peakRssBytes())} of memory`);
}

/**
 * Reads the configuration files.
 *
 * @param spare whether the command can do without: one without options of its own (`cache list`, `completion`) has nothing to
 *   lose by a broken file that nobody named, and `doctor` is there to be run when something is broken
 */
function tryConfig(
  spare: boolean,
  read: () => readonly ConfigLayer[],
): { readonly files: readonly ConfigLayer[]; readonly failure?: RandloraError } {
  try {
    return { files: read() };
  } catch (error) {
    if (!spare || !(error instanceof RandloraError)) throw error;
    return { files: [], failure: error };
  }
}

/** Files and pipes get text as it is; a terminal is not to be steered by it. */
function writeTo(stdout: OutputStream, text: string): void {
  stdout.write(stdout.isTTY === true ? steerless(text) : text);
}

type Globals = { readonly [K in keyof typeof GLOBAL_OPTIONS]: ValueOf<(typeof GLOBAL_OPTIONS)[K]> };

function settleGlobals(given: Given, host: Host, files: readonly ConfigLayer[]): Globals {
  // `settle` reads every key by its own definition, so the values have the definitions' types.
  return settle(GLOBAL_OPTIONS, { given, environment: host.environment, files, dropped: new Set() }) as Globals;
}

function createContext(globals: Globals, host: Host): Context {
  const { json, quiet, verbose, device: choice, threads, memory, profile } = globals;
  const { stdout, screen } = host;
  let answered = false;
  const write = (text: string): void => {
    screen.hide();
    writeTo(stdout, text);
  };
  const log = createLog(screen, createStyle(host.stderr, host.environment), { quiet, verbose });
  return {
    print: (text) => (json ? undefined : write(text)),
    result(data, render, kind = "text") {
      if (answered) throw new Error("a command gave two results");
      answered = true;
      if (kind === "shared") return;
      if (json) write(`${JSON.stringify(data, null, stdout.isTTY === true ? 2 : 0)}\n`);
      else if (render !== undefined && !(quiet && kind === "files")) write(render());
    },
    log,
    progress: (spec) => (quiet ? silentProgress() : createProgress(screen, spec)),
    screen: quiet ? SILENT : screen,
    style: createStyle(stdout, host.environment),
    columns: columnsOf(stdout),
    signal: host.signal,
    device: {
      choice,
      threads,
      memory,
      profile,
      onOpen: ({ name, driver }) => log.verbose(`device: ${name}, ${driver}`),
      onFault: (fault) => log.verbose(`not used: ${fault}`),
    },
    json,
    quiet,
    verbose,
  };
}
