import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { GLOBAL_OPTIONS } from "../src/options/globals.ts";
import { allCommands, flagName } from "../src/options/names.ts";
import { program } from "./main.ts";

const ROOT = join(import.meta.dir, "..");
const commands = allCommands(program);
const options = commands.flatMap(({ command }) => Object.keys(command.options));
const flags = new Set([...options, ...Object.keys(GLOBAL_OPTIONS), "help", "version"].map(flagName));

/** Code of a page: `…` and fenced lines. */
async function codeOf(page: string): Promise<string[]> {
  const text = await Bun.file(join(ROOT, page)).text();
  return [...text.matchAll(/```\w*\n([^]*?)```|`([^`]+)`/g)].map(([, block, span]) => block ?? span ?? "");
}

describe.each(["README.md", "docs/interface.md"])("%s", (page) => {
  test("names no command and no option that does not exist", async () => {
    const known = new Set(commands.map(({ path }) => path.join(" ")));
    for (const code of await codeOf(page)) {
      const named = [...code.matchAll(/(?<![\w-])--([a-z][a-z-]*)/g)].map(([, flag = ""]) => flag);
      expect(named.filter((flag) => !flags.has(flag))).toEqual([]);
      for (const [, first = "", second = ""] of code.matchAll(/\brandlora ([a-z]+)(?: ([a-z]+))?/g)) {
        expect(
          [first, `${first} ${second}`].some((path) => known.has(path)),
          code,
        ).toBe(true);
      }
    }
  });
});

test("docs/interface.md knows every command", async () => {
  const code = (await codeOf("docs/interface.md")).join("\n");
  expect(commands.map(({ path }) => path.join(" ")).filter((path) => !code.includes(path))).toEqual([]);
});
