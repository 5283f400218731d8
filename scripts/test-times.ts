/* `bun scripts/test-times.ts LOG`: of what `.ci/run` or `bun test` printed the fifty files that take longest. */
import { readFile } from "node:fs/promises";

const [path] = process.argv.slice(2);
if (path === undefined) throw new Error("name a log: .ci/run test test:slow > LOG");

const seconds = new Map<string, number>();
let file = "";
for (const line of (await readFile(path, "utf8")).split("\n")) {
  file = /^(?:::group::)?(\S+\.test\.tsx?):$/.exec(line)?.[1] ?? file;
  const [, time = "", unit] = /^\((?:pass|fail)\) .* \[([\d.]+)(m?s)\]$/.exec(line) ?? [];
  if (time !== "") seconds.set(file, (seconds.get(file) ?? 0) + Number(time) / (unit === "ms" ? 1000 : 1));
}
const sum = (of: Iterable<number>) => [...of].reduce((all, one) => all + one, 0);
const rows = [...seconds].toSorted(([, a], [, b]) => b - a).slice(0, 50);
for (const [name, time] of rows) process.stdout.write(`${time.toFixed(1).padStart(5)} ${name}\n`);
process.stdout.write(
  `${seconds.size} files, ${sum(seconds.values()).toFixed(0)} s; these ${sum(rows.map(([, time]) => time)).toFixed(0)} s\n`,
);
