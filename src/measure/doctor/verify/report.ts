import { homedir, hostname, tmpdir, userInfo } from "node:os";
import { dirname } from "node:path";
import { dependencies, version } from "../../../../package.json";
import { RandloraError } from "../../../files/errors.ts";
import { formatAmount, formatDuration, formatNumber } from "../../../terminal/format.ts";
import type { Style } from "../../../terminal/style.ts";
import { formatTable } from "../../../terminal/table.ts";
import type { Problem, Verification } from "./supervise.ts";

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
