import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { homedir, hostname, tmpdir, userInfo } from "node:os";
import { dirname, resolve } from "node:path";
import { dependencies, version } from "../../../../package.json";
import { RandloraError } from "../../../files/errors.ts";
import { naming, oneLine } from "../../../files/failure.ts";
import { Publication } from "../../../files/publish.ts";
import { formatAmount, formatDuration, formatNumber } from "../../../terminal/format.ts";
import type { Context } from "../../../terminal/options/command.ts";
import type { Style } from "../../../terminal/style.ts";
import { formatTable } from "../../../terminal/table.ts";
import { FROM_VARIABLE, type Problem, supervise, type Verification } from "./supervise.ts";

/** A check that takes longer waits for a compiler, or for a device that is too slow to be of use. Seconds. */
const SLOW = 10;

/**
 * What the report file and `--json` hold: the device, its driver, versions, results; nothing that tells whose machine it is.
 * @json doctor --verify
 */
interface VerificationJson {
  readonly format: "randlora-verification";
  readonly version: 1;
  readonly versions: Readonly<Record<string, string>>;
  readonly platform: string;
  /** name, vendor, architecture, driver, software, code (of the CPU device). */
  readonly device: object;
  readonly checks: number;
  readonly done: number;
  readonly seconds: number;
  /** op, format, size, kind (wrong, failed, crashed, hung), what. */
  readonly problems: readonly object[];
  /** Checks of more than 10 seconds: op, format, size, seconds. */
  readonly slow: readonly object[];
  readonly training: readonly {
    readonly run: string;
    readonly losses: readonly number[];
    readonly gradient_norms: readonly number[];
    readonly adapter_sha256: string;
    readonly merged_sha256: string;
  }[];
}

export function verificationJson(verification: Verification): VerificationJson {
  const { device, checks, done, problems, measured, times } = verification;
  return {
    format: "randlora-verification",
    version: 1,
    versions: { randlora: version, bun: Bun.version, webgpu: dependencies.webgpu },
    platform: `${process.platform}-${process.arch}`,
    device,
    checks,
    done,
    seconds: secondsOf(verification),
    problems: problems.map((problem) => ({ ...problem, what: withoutOwner(problem.what) })),
    slow: times.filter(({ seconds }) => seconds > SLOW),
    training: measured.map(({ run, losses, gradientNorms, adapter, merged }) => ({
      run,
      losses,
      gradient_norms: gradientNorms,
      adapter_sha256: adapter,
      merged_sha256: merged,
    })),
  };
}

/** The same for people: a line for each thing that is wrong or slow. */
export function renderVerification(verification: Verification, columns: number, style: Style): string {
  const { device, checks, done, problems, times } = verification;
  const rows = [
    ...problems.map(({ kind, op, format, size, what }) => [style.red(kind), op, format, size, what]),
    ...times
      .filter(({ seconds }) => seconds > SLOW)
      .map(({ op, format, size, seconds }) => [style.yellow("slow"), op, format, size, formatDuration(seconds)]),
  ];
  const table = rows.length === 0 ? "" : `${formatTable(rows, { columns, align: "" }).trimEnd()}\n`;
  const good = problems.length === 0 && done === checks;
  const verdict = good ? style.green("all right") : style.red(countOf(problems));
  const undone = done < checks ? `, ${formatNumber(checks - done - endedIn(problems))} not done` : "";
  const counts = `${formatNumber(done)} of ${formatAmount(checks, "check")} in ${formatDuration(secondsOf(verification))}`;
  return `${style.bold(device.name)} (${device.driver})\n${counts}: ${verdict}${undone}\n${table}`;
}

/** Why the device is not to be used; undefined where everything is right. */
export function failureOf({ problems, device }: Verification): RandloraError | undefined {
  if (problems.length === 0) return undefined;
  const hint = "update the driver, or choose another device with --device; the report file helps us to find the cause";
  return new RandloraError("gpu", `${device.name}: ${countOf(problems)}: its results cannot be trusted`, hint);
}

/** "2 wrong, 1 hung". */
function countOf(problems: readonly Problem[]): string {
  const kinds = ["wrong", "failed", "crashed", "hung"] as const;
  const counts = kinds.map((kind) => [problems.filter((problem) => problem.kind === kind).length, kind] as const);
  return counts.flatMap(([count, kind]) => (count === 0 ? [] : [`${count} ${kind}`])).join(", ");
}

/** Checks that their process did not come to the end of. */
function endedIn(problems: readonly Problem[]): number {
  return problems.filter(({ kind, format }) => kind !== "wrong" && format !== "").length;
}

function secondsOf({ times }: Verification): number {
  return times.reduce((sum, { seconds }) => sum + seconds, 0);
}

/** A driver's message may name files, and so users and machines. */
export function withoutOwner(text: string, names: readonly string[] = [hostname(), userInfo().username]): string {
  // Folders that are known, and names, come first: a path is taken to end at a blank, and what follows would be left.
  const known = [process.cwd(), tmpdir(), homedir(), dirname(process.execPath)].toSorted((a, b) => b.length - a.length);
  const placeless = known.reduce((left, folder) => (folder === "/" ? left : left.replaceAll(folder, "/…")), text);
  const nameless = names
    .filter((name) => name !== "")
    .reduce((left, name) => left.replace(new RegExp(`(?<!\\w)${RegExp.escape(name)}(?!\\w)`, "g"), "…"), placeless);
  return nameless.replace(/(^|[\s"'(:=])(?:[A-Za-z]:)?[\\/][^\s"')]*/g, "$1…");
}

/** Seconds: compilers of real drivers take some for a kernel, software GPUs and large cases more. */
const PATIENCE = 180;

/**
 * `randlora doctor --verify`: everything that the device computes against f64, and short training runs against stored
 * results; a report file.
 * @param out the report file; the next free randlora-doctor-N.json by default
 * @throws RandloraError `gpu` where anything is wrong, or no device can be opened; `file`
 */
export async function verifyDevice(out: string | undefined, force: boolean, context: Context): Promise<void> {
  const from = process.env[FROM_VARIABLE];
  if (from !== undefined) {
    const { serveChecks } = await import("./work.ts");
    return await serveChecks(context.device, Number(from), context.signal);
  }
  await using publication = await Publication.begin(resolve(out ?? nextFree()), { kind: "file", force });
  using stack = new DisposableStack();
  let began = false;
  let bar = stack.use(context.progress({ title: "verifying" }));
  const verification = await supervise({
    command: ownCommand(),
    signal: context.signal,
    patience: PATIENCE,
    onStart(items) {
      if (began) return;
      began = true;
      bar.close();
      bar = stack.use(context.progress({ title: "verifying", items, unit: "checks" }));
    },
    onCheck: ({ op, format, size }) => bar.label([op, format, size].join("  ")),
    onEnd: () => bar.add({ items: 1 }),
  });
  bar.close();
  const json = verificationJson(verification);
  await naming(publication.target, "write", writeFile(publication.partPath, `${JSON.stringify(json, null, 2)}\n`));
  await publication.commit();
  context.result(json, () => renderVerification(verification, context.columns, context.style));
  context.log.info(`report: ${oneLine(publication.target)}`);
  const failure = failureOf(verification);
  if (failure !== undefined) throw failure;
}

/** This program with these arguments; a source tree is run by Bun. */
function ownCommand(): string[] {
  const isCompiled = Bun.embeddedFiles.length > 0;
  return [process.execPath, ...(isCompiled ? [] : [Bun.main]), ...process.argv.slice(2)];
}

function nextFree(): string {
  for (let number = 1; ; number++) {
    const name = `randlora-doctor-${number}.json`;
    if (!existsSync(name)) return name;
  }
}
