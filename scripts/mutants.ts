/*
 * `npm run mutants [-- --folder PATH] [--only PATTERN] [--jobs N] [--nearest N] [--patience SECONDS] [--argued]`: puts mistakes
 * into the program, one at a time, and says which of them the tests notice: `npm test` first, then `*.slow.test.ts`.
 *
 * A mistake is tried in a copy of the working tree, with the test files that reach its file, nearest first, up to the first
 * that fails with it and passes without. Exits with 1 where a mistake stays unnoticed that is not argued (`survives`), or where
 * `npm test` notices less than 80 % of what all tests notice.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Copy, sourcesOf } from "./mutants/copy.ts";
import type { Failure } from "./mutants/copy.ts";
import { MUTATIONS } from "./mutants/list.ts";
import type { Mutation } from "./mutants/mutation.ts";
import { mutate } from "./mutants/mutation.ts";
import { Reach } from "./mutants/reach.ts";

const ROOT = join(import.meta.dir, "..");
const LEAST_SHARE = 0.8;
/** Files of the first processes; a mistake is mostly noticed beside it. */
const BATCHES = [3, 6, 12];
const LARGEST_BATCH = 24;

const { values } = parseArgs({
  options: {
    folder: { type: "string", default: "" },
    only: { type: "string", default: "" },
    jobs: { type: "string", default: "1" },
    nearest: { type: "string", default: "Infinity" },
    patience: { type: "string", default: "300" },
    argued: { type: "boolean", default: false },
  },
});
const patience = Number(values.patience);

type Suite = "npm test" | "slow tests";

interface Row {
  readonly mutation: Mutation;
  /** What notices it; undefined where nothing does. */
  readonly suite?: Suite;
  readonly failure?: Failure;
  readonly seconds: number;
}

/** Test files by whether they pass as they are, found out for those that fail with a mistake. */
const passing = new Map<string, Promise<boolean>>();

function passes(copy: Copy, file: string): Promise<boolean> {
  const known = passing.get(file);
  if (known !== undefined) return known;
  copy.apply();
  const found = copy.run([file], patience).then((failure) => failure === undefined);
  passing.set(file, found);
  return found;
}

async function firstFailure(copy: Copy, mutation: Mutation, tests: readonly string[]): Promise<Failure | undefined> {
  let [rest, batch] = [tests, 0];
  while (rest.length > 0) {
    const files = rest.slice(0, BATCHES[batch] ?? LARGEST_BATCH);
    copy.apply(mutation);
    const failure = await copy.run(files, patience);
    if (failure !== undefined && (await passes(copy, failure.file))) return failure;
    if (failure === undefined) {
      rest = rest.slice(files.length);
      batch++;
    } else {
      process.stderr.write(`warning: ${failure.file} also fails without a mistake: left out\n`);
      rest = rest.filter((file) => file !== failure.file);
    }
  }
  return undefined;
}

async function attempt(copy: Copy, mutation: Mutation, tests: readonly string[]): Promise<Row> {
  const begin = performance.now();
  const nearest = tests.slice(0, Number(values.nearest));
  const isSlow = (file: string) => file.endsWith(".slow.test.ts");
  const suites: readonly [Suite, readonly string[]][] = [
    ["npm test", nearest.filter((file) => !isSlow(file))],
    ["slow tests", nearest.filter(isSlow)],
  ];
  const seconds = () => (performance.now() - begin) / 1000;
  for (const [suite, files] of suites) {
    const failure = await firstFailure(copy, mutation, files);
    if (failure !== undefined) return { mutation, suite, failure, seconds: seconds() };
  }
  return { mutation, seconds: seconds() };
}

function cells({ mutation, suite, failure, seconds }: Row): string {
  const by = failure === undefined ? (mutation.survives ?? "") : failure.file + (failure.hung ? " (hangs)" : "");
  return `| ${[mutation.file, mutation.breaks, suite ?? "nothing", by, seconds.toFixed(0)].join(" | ")} |`;
}

const pattern = new RegExp(values.only);
const chosen = MUTATIONS.filter(
  ({ file, breaks }) => file.startsWith(values.folder) && pattern.test(`${file} ${breaks}`),
);
// All of them, before the first takes its minutes: a text that an edit has changed is said at once.
for (const mutation of chosen) mutate(ROOT, mutation);
const reach = new Reach(ROOT, sourcesOf(ROOT));

const isTried = ({ survives }: Mutation) => survives === undefined || values.argued;
const queue = chosen.filter(isTried);
const rows = new Map(
  chosen.filter((one) => !isTried(one)).map((mutation) => [mutation, { mutation, seconds: 0 } as Row]),
);
async function work(): Promise<void> {
  using copy = new Copy(ROOT);
  for (let mutation = queue.shift(); mutation !== undefined; mutation = queue.shift()) {
    const row = await attempt(copy, mutation, reach.testsOf(mutation.file));
    rows.set(mutation, row);
    process.stderr.write(`${cells(row)}\n`);
  }
}
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));
await Promise.all(Array.from({ length: Number(values.jobs) }, work));

const ordered = chosen.flatMap((mutation) => rows.get(mutation) ?? []);
process.stdout.write("| file | mistake | noticed by | test | s |\n|---|---|---|---|---|\n");
process.stdout.write(ordered.map((row) => `${cells(row)}\n`).join(""));
const fast = ordered.filter(({ suite }) => suite === "npm test").length;
const noticed = ordered.filter(({ suite }) => suite !== undefined).length;
const unargued = ordered.filter(({ suite, mutation }) => suite === undefined && mutation.survives === undefined).length;
const percent = (part: number, all: number) => (all === 0 ? "none" : `${((100 * part) / all).toFixed(1)} %`);
process.stdout.write(
  `\nall tests notice ${noticed} of ${ordered.length} mistakes (${percent(noticed, ordered.length)}; ` +
    `${unargued} unnoticed without an argument), npm test ${fast} of these ${noticed} (${percent(fast, noticed)})\n`,
);
if (unargued > 0 || fast < LEAST_SHARE * noticed) process.exitCode = 1;
