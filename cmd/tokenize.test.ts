import { describe, expect, test } from "bun:test";
import { expectedStories, STORIES } from "../fixtures/stories/storyteller.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { randlora, spawned } from "./testing/program.ts";

const tokenize = (args: readonly string[]) => randlora(["tokenize", ...args]);

test("gives the reference's ids and the text back", async () => {
  const texts = await expectedStories();
  for (const { text, ids } of texts) {
    const { stdout, stderr, status } = await tokenize([STORIES, "-p", text, "--json"]);
    expect([JSON.parse(stdout), stderr, status]).toEqual([{ ids, text }, "", 0]);
    if (text === texts[0].text) expect((await tokenize([STORIES, text, "--json"])).stdout).toBe(stdout);
  }
});

test("shows a token a line to people", async () => {
  const { stdout } = await tokenize([STORIES, "-p", "Once\nupon"]);
  expect(stdout).toBe('  1 "<s>"\n322 "▁"\n491 "Once"\n 13 "<0x0A>"\n316 "u"\n493 "pon"\n');
});

test("leaves out the tokenizer's special tokens, not the text's", async () => {
  const { stdout } = await tokenize([STORIES, "-p", "a</s>", "--no-special", "--json"]);
  expect(JSON.parse(stdout)).toEqual({ ids: [326, 2], text: "a</s>" });
});

describe("bytes are taken as they are", () => {
  const text = "\ufeffa\r\nb\0 c\n";
  const bytes = new TextEncoder().encode(text);

  test("from a file, from stdin, from stdin by name", async () => {
    await using folder = await TemporaryFolder.create();
    await Bun.write(folder.at("text"), bytes);
    const runs = [
      await tokenize([STORIES, "--file", folder.at("text"), "--json"]),
      await spawned(["tokenize", STORIES, "--json"], { stdin: text }),
      await spawned(["tokenize", STORIES, "--file", "-", "--json"], { stdin: text }),
    ];
    for (const { stdout, status } of runs) {
      expect(status).toBe(0);
      const { ids, text: back } = JSON.parse(stdout);
      expect(back).toBe(text);
      expect(ids.slice(0, 5)).toEqual([1, 322, 242, 190, 194]); // <s> ▁ and the three bytes of the mark
    }
  });

  test("what is not UTF-8 is named", async () => {
    await using folder = await TemporaryFolder.create();
    const path = folder.at("text");
    await Bun.write(path, Uint8Array.of(0x61, 0xc3));
    const { status, stdout, stderr } = await tokenize([STORIES, "--file", path]);
    expect([status, stdout]).toEqual([3, ""]);
    expect(stderr).toStartWith(`error: ${path}: not UTF-8: byte 0xc3 at offset 1
hint: `);
  });
});

test("refuses two texts, and a folder without a tokenizer", async () => {
  expect(await tokenize([STORIES, "-p", "a", "--file", "b"])).toMatchObject({
    status: 2,
    stderr: "error: -p and --file both give the text\nhint: leave one of them out\n",
  });
  expect(await tokenize([STORIES, "a", "-p", "b"])).toMatchObject({
    status: 2,
    stderr: "error: TEXT and --prompt both give the text\nhint: leave one of them out\n",
  });
  const { status, stderr } = await tokenize([import.meta.dir, "-p", "a"]);
  expect(status).toBe(1);
  expect(stderr).toContain("tokenizer.json: no such file\nhint: ");
});
