/*
 * `npm run size [-- BASE]`: how large each part is, beside its budget in size-budget.json or, with BASE, beside that commit.
 * `npm run size -- --small`: the files under 40 lines that one file imports. They belong into it, unless they have a reader of their own.
 * `npm run size -- --write`: today's sizes become the budgets, which size.test.ts holds.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { importsOf, partOf, sourcesOf } from "./sources.ts";

const ROOT = join(import.meta.dir, "..");
const BUDGET = join(import.meta.dir, "size-budget.json");
const SMALL = 40;

/** Files, lines that hold code, and words and signs on those lines: long lines show there. */
export interface Size {
  readonly files: number;
  readonly lines: number;
  readonly tokens: number;
}

const NOTHING: Size = { files: 0, lines: 0, tokens: 0 };

/** A part's name → its size; `all` is their sum. */
export type Sizes = Readonly<Record<string, Size>>;

/** The lines of a text that hold more than a comment. Comments stand on lines of their own: oxfmt and review keep them there. */
export function codeLines(text: string): string[] {
  let isInside = false;
  return text.split("\n").filter((line) => {
    const trimmed = line.trim();
    const isComment = isInside || trimmed.startsWith("/*");
    if (isComment) isInside = !trimmed.includes("*/");
    return !isComment && trimmed !== "" && !trimmed.startsWith("//");
  });
}

/** The sizes of the parts below `root`, tests and their helpers aside. */
export function sizesOf(root: string): Sizes {
  const sizes: Record<string, Size> = {};
  for (const path of sourcesOf(root)) {
    const lines = codeLines(readFileSync(join(root, path), "utf8"));
    const tokens = lines.reduce((sum, line) => sum + (line.match(/\w+|[^\s\w]/g)?.length ?? 0), 0);
    for (const part of [partOf(path), "all"]) {
      const { [part]: known = NOTHING } = sizes;
      sizes[part] = { files: known.files + 1, lines: known.lines + lines.length, tokens: known.tokens + tokens };
    }
  }
  const { all = NOTHING, ...parts } = sizes;
  return { ...Object.fromEntries(Object.entries(parts).toSorted()), all };
}

/** Files under 40 lines of code that one file imports, `PATH ← IMPORTER`. */
export function smallFiles(root: string): string[] {
  const sources = sourcesOf(root);
  const importers = Map.groupBy(
    [...importsOf(root, sources)].flatMap(([from, targets]) => targets.map((to) => ({ from, to }))),
    ({ to }) => to,
  );
  return sources.flatMap((path) => {
    const [first, ...more] = importers.get(path) ?? [];
    const isSmall = codeLines(readFileSync(join(root, path), "utf8")).length < SMALL;
    return first !== undefined && more.length === 0 && isSmall ? [`${path} ← ${first.from}`] : [];
  });
}

/** What size.test.ts holds. */
export function budget(): { readonly parts: Sizes; readonly small: number } {
  return JSON.parse(readFileSync(BUDGET, "utf8")) as ReturnType<typeof budget>;
}

async function sizesAt(commit: string): Promise<Sizes> {
  await using folder = await TemporaryFolder.create();
  const { success, stdout, stderr } = Bun.spawnSync(["git", "archive", commit, "src", "cmd"], { cwd: ROOT });
  if (!success) throw new Error(`git archive ${commit}: ${stderr.toString().trim()}`);
  await new Bun.Archive(stdout).extract(folder.path);
  return sizesOf(folder.path);
}

/** A row a part: files, lines and tokens, each with its difference to `beside`. */
export function table(sizes: Sizes, beside: Sizes): string {
  const cell = (now: number, then: number) => `${now}${now === then ? "" : ` (${now > then ? "+" : ""}${now - then})`}`;
  const rows = [...new Set([...Object.keys(beside), ...Object.keys(sizes)])].filter((part) => part !== "all");
  return [["part", "files", "lines", "tokens"]]
    .concat(
      [...rows.toSorted(), "all"].map((part) => {
        const { [part]: now = NOTHING } = sizes;
        const { [part]: then = NOTHING } = beside;
        return [part, ...(["files", "lines", "tokens"] as const).map((of) => cell(now[of], then[of]))];
      }),
    )
    .map(([part = "", ...cells]) => part.padEnd(10) + cells.map((one) => one.padStart(20)).join(""))
    .join("\n");
}

if (import.meta.main) {
  const [asked] = process.argv.slice(2);
  const sizes = sizesOf(ROOT);
  if (asked === "--small") process.stdout.write(`${smallFiles(ROOT).join("\n")}\n`);
  else if (asked === "--write")
    await Bun.write(BUDGET, `${JSON.stringify({ parts: sizes, small: smallFiles(ROOT).length }, null, 2)}\n`);
  else process.stdout.write(`${table(sizes, asked === undefined ? budget().parts : await sizesAt(asked))}\n`);
}
