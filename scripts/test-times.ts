/* `bun scripts/test-times.ts JUNIT.xml`: the fifty files that take longest, as docs/testing.md has them, and the sum of all. */
import { readFile } from "node:fs/promises";

const [path] = process.argv.slice(2);
if (path === undefined)
  throw new Error("name a report: bun scripts/tests.ts --all --reporter=junit --reporter-outfile=FILE");

const seconds = new Map<string, number>();
for (const [tag] of (await readFile(path, "utf8")).matchAll(/<testcase [^>]*>/g)) {
  const [file, time] = ["file", "time"].map((name) => new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1] ?? "");
  if (file) seconds.set(file, (seconds.get(file) ?? 0) + Number(time));
}
const sum = (of: Iterable<number>) => [...of].reduce((all, one) => all + one, 0);
const rows = [...seconds].toSorted(([, a], [, b]) => b - a).slice(0, 50);
for (const [file, time] of rows) process.stdout.write(`${time.toFixed(1).padStart(5)} ${file}\n`);
process.stdout.write(
  `${seconds.size} files, ${sum(seconds.values()).toFixed(0)} s; these ${sum(rows.map(([, time]) => time)).toFixed(0)} s\n`,
);
