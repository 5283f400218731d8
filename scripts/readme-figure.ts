/*
 * Draws docs/merge.svg, the README's figure: the output of a real run, as a terminal shows it.
 *
 *   bun scripts/readme-figure.ts          (after set-up; takes a second)
 */
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";

const ROOT = join(import.meta.dir, "..");
const COMMAND = ["merge", "fixtures/tiny/base", "fixtures/tiny/adapter", "--out", "tiny-mine", "--force", "--verify"];

const [CHARACTER_WIDTH, LINE_HEIGHT, MARGIN] = [8.4, 19, 18] as const;

const child = Bun.spawn([process.execPath, "cmd/main.ts", ...COMMAND], { cwd: ROOT, stdout: "pipe", stderr: "pipe" });
const output = await new Response(child.stdout).text();
if ((await child.exited) !== 0) throw new Error(await new Response(child.stderr).text());
await Bun.$`rm -rf ${join(ROOT, "tiny-mine")}`;

// Where the run happened says nothing about the program.
const shown = stripVTControlCharacters(output).replaceAll(`${ROOT}/`, "").trimEnd();
const lines = [`$ randlora ${COMMAND.join(" ")}`, ...shown.split("\n")];
const columns = Math.max(...lines.map(({ length }) => length));
const [width, height] = [2 * MARGIN + Math.ceil(columns * CHARACTER_WIDTH), 2 * MARGIN + lines.length * LINE_HEIGHT];
const rows = lines.map((line, index) => {
  const fill = index === 0 ? "#7ee787" : "#c9d1d9";
  const y = MARGIN + (index + 0.75) * LINE_HEIGHT;
  return `  <text x="${MARGIN}" y="${y}" fill="${fill}" xml:space="preserve">${Bun.escapeHTML(line)}</text>`;
});
const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14">
  <rect width="100%" height="100%" rx="8" fill="#0d1117"/>
${rows.join("\n")}
</svg>
`;
await Bun.write(join(ROOT, "docs/merge.svg"), svg);
