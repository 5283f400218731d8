import { expect, test } from "bun:test";
import { mkdir, writeFile } from "node:fs/promises";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { completed } from "../../terminal/editor/line-editor.ts";
import { COMMANDS } from "./commands.ts";
import { completeLine } from "./chat-command.ts";

/** What Tab makes of a text with the cursor at its end, and what it shows. */
function tab(text: string): [text: string, ...shown: string[]] {
  const after = completed({ text, cursor: text.length }, (before) => completeLine(before, COMMANDS));
  expect(after.cursor).toBe(after.text.length);
  return [after.text, ...after.shown];
}

test("Tab completes commands, their words and files, and shows several", async () => {
  await using folder = await TemporaryFolder.create();
  await mkdir(folder.at("notes"));
  for (const name of ["papers.txt", "paper é.md", ".hidden"]) await writeFile(folder.at(name), "");
  const at = (name: string) => `/read ${folder.at(name)}`;
  expect(tab("/sa")).toEqual(["/save "]);
  expect(tab("/re")).toEqual(["/re", "reset", "retry", "read "]);
  expect(tab("/adapter o")).toEqual(["/adapter o", "on", "off"]);
  expect(tab(at("p"))).toEqual([at("paper")]);
  expect(tab(at("paper"))).toEqual([at("paper"), folder.at("paper é.md"), folder.at("papers.txt")]);
  expect(tab(at("papers"))).toEqual([at("papers.txt")]);
  expect(tab(at("n"))).toEqual([at("notes/")]);
  // A folder's name alone shows what is in it, but hidden files.
  expect(tab(at("/"))).toHaveLength(4);
  for (const text of ["", "he", "//re", "/reset ", "/none x", at("nodir/x"), "/read a\nb"])
    expect(tab(text)).toEqual([text]);
});

test("what stands behind the cursor stays", () => {
  const after = completed({ text: "/sav x", cursor: 4 }, (before) => completeLine(before, COMMANDS));
  expect(after).toEqual({ text: "/save  x", cursor: 6, shown: [] });
});
