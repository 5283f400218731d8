import { expect, test } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { forgettingChart, forgettingPage } from "./forgetting-page.ts";
import { forgettingRecords } from "./forgetting-record.ts";
import { imagesPage } from "./images-page.ts";
import { IMAGES_RECORD } from "./images-record.ts";
import { languagePage } from "./language-page.ts";
import { LANGUAGE_RECORD } from "./language-record.ts";
import { commandBlock, EVIDENCE_FOLDER, filled, withSection } from "./section.ts";

test("a section is appended once, and replaced in its place", () => {
  const first = withSection("# Evidence\n", "images", "## Images\n\nold $& one\n");
  const both = withSection(first, "language", "## Language\n");
  const again = withSection(both, "images", "## Images\n\nnew $& one\n");
  expect(again).toBe(both.replace("old", "new"));
  expect(again.indexOf("## Images")).toBeLessThan(again.indexOf("## Language"));
  expect(withSection(again, "language", "## Language\n")).toBe(again);
});

test("lines have at most 120 characters, where code and tables are not broken", () => {
  const words = "word ".repeat(40).trim();
  const code = `\`${"x y ".repeat(10).trim()}\``;
  const text = `${words} ${code} ${words}\n\n- ${words}\n- b\n\n| ${words} | ${words} |`;
  const lines = filled(text).split("\n");
  expect(lines.filter((line) => line.length > 120 && !line.startsWith("|"))).toEqual([]);
  expect(filled(text)).toContain(code);
  expect(lines).toEqual(expect.arrayContaining(["- b", `| ${words} | ${words} |`]));
  expect(lines.filter((line) => line.startsWith("  word"))).toHaveLength(1);
  expect(filled(filled(text))).toBe(filled(text));
});

test("a command goes on behind a backslash", () => {
  const command = `bun x ${Array.from({ length: 12 }, (_, at) => `--number-${at} ${at}00000`).join(" ")}`;
  const lines = commandBlock(command).split("\n").slice(1, -1);
  expect(lines.length).toBeGreaterThan(1);
  expect(lines.every((line) => line.length <= 120)).toBe(true);
  expect(lines.join("\n").replaceAll(" \\\n ", "")).toBe(command);
});

test("docs/evidence.md says what its records say", async () => {
  const record = async (name: string): Promise<unknown> => await Bun.file(join(EVIDENCE_FOLDER, `${name}.json`)).json();
  const page = await Bun.file(`${EVIDENCE_FOLDER}.md`).text();
  const images = imagesPage(v.parse(IMAGES_RECORD, await record("images")));
  const language = languagePage(v.parse(LANGUAGE_RECORD, await record("language")));
  const records = await forgettingRecords();
  const forgetting = forgettingPage(records);
  const sections = { images, language, forgetting };
  const all = Object.entries(sections).reduce((text, [name, own]) => withSection(text, name, filled(own)), page);
  expect(all).toBe(page);
  for (const [name, one] of Object.entries(records)) {
    expect(await Bun.file(join(EVIDENCE_FOLDER, `forgetting-${name}.svg`)).text()).toBe(forgettingChart(one));
  }
});
