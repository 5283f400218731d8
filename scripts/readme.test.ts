import { expect, test } from "bun:test";
import { join } from "node:path";
import { checkIdle } from "../bench/readme-record.ts";
import { generated } from "./readme.ts";

const ROOT = join(import.meta.dir, "..");
const text = async (path: string) => await Bun.file(join(ROOT, path)).text();

test("README's charts and figures are those of the records (bun scripts/readme.ts)", async () => {
  const files = await generated();
  expect(files.size).toBe(4);
  for (const [path, wanted] of files) expect([path, await text(path)]).toEqual([path, wanted]);
});

test.each([
  ["README.md", 900],
  ["docs/guide/install.md", 450],
  ["docs/guide/models.md", 350],
])("%s has at most %i words, in lines of at most 120 characters", async (path, most) => {
  const page = await text(path);
  expect(page.split(/\s+/).length).toBeLessThanOrEqual(most);
  const prose = page.split("\n").filter((line) => !/^\||\]\(/.test(line));
  expect(prose.filter((line) => Bun.stringWidth(line) > 120)).toEqual([]);
});

test("figures are not recorded where others use the machine", () => {
  checkIdle(0.2);
  expect(() => checkIdle(3.1)).toThrow("the load average is 3.10: others use this machine");
});

test("README's first screen says what was run and what was not", async () => {
  const [screen = ""] = (await text("README.md")).split("\n## ");
  expect(screen).toContain("CPU device: tested; WebGPU on cards: written, not yet run on one");
  expect(screen.split("\n").length).toBeLessThan(30);
  const [, installing = ""] = /\$ npm start\n(.*)\n/.exec(await text("README.md")) ?? [];
  expect(await text("scripts/setup.mjs")).toContain(`"${installing}"`);
});
