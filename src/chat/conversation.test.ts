import { expect, test } from "bun:test";
import { link, readdir, readFile, writeFile } from "node:fs/promises";
import { Conversation, loadConversation, saveConversation } from "./conversation.ts";
import { TemporaryFolder } from "../files/testing/folder.ts";

function talk(...turns: readonly string[]): Conversation {
  const conversation = new Conversation("Be brief.");
  for (const [i, content] of turns.entries()) conversation.add({ role: i % 2 === 0 ? "user" : "assistant", content });
  return conversation;
}

test("a saved conversation comes back, and is replaced as a whole by what it has become", async () => {
  await using folder = await TemporaryFolder.create();
  const path = folder.at("chat.json");
  expect(await saveConversation(path, talk("Hi", "Hello"))).toBe(false);
  await link(path, folder.at("before.json"));
  expect(await saveConversation(path, talk("Hi", "Hello", "Bye", "So long"))).toBe(true);
  expect((await loadConversation(path)).length).toBe(4);
  // Not a byte of the old file was touched: a full disk would have left it.
  expect((await loadConversation(folder.at("before.json"))).length).toBe(2);
});

test("a folder that is not there is not made", async () => {
  await using folder = await TemporaryFolder.create();
  const message = expect.stringMatching(/there is no folder .*nodir$/);
  await expect(saveConversation(folder.at("nodir", "x.json"), talk("Hi"))).rejects.toMatchObject({ message });
  expect(await readdir(folder.path)).toEqual([]);
});

test.each(["# Notes\n", '{"messages": [], "more": 1}', "[]", ""])("a file of %j is not replaced", async (text) => {
  await using folder = await TemporaryFolder.create();
  await writeFile(folder.at("notes.md"), text);
  await expect(saveConversation(folder.at("notes.md"), talk("Hi"))).rejects.toMatchObject({
    code: "file",
    message: expect.stringContaining("it exists and is not a conversation that /save wrote"),
  });
  expect(await readFile(folder.at("notes.md"), "utf8")).toBe(text);
});
