import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expectedStories, STORIES } from "../fixtures/stories/storyteller.ts";
import { cleanEnvironment } from "../src/files/testing/process.ts";

/** Runs `randlora tokenize` with these bytes on stdin. */
async function tokenize(args: readonly string[], stdin: Uint8Array = new Uint8Array()) {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "main.ts"), "tokenize", ...args], {
    env: cleanEnvironment(),
    stdin,
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { status, stdout, stderr };
}

async function withFile<T>(bytes: Uint8Array, use: (path: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "randlora-tokenize-"));
  try {
    await Bun.write(join(folder, "text"), bytes);
    return await use(join(folder, "text"));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

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
    const runs = await withFile(bytes, async (path) => [
      await tokenize([STORIES, "--file", path, "--json"]),
      await tokenize([STORIES, "--json"], bytes),
      await tokenize([STORIES, "--file", "-", "--json"], bytes),
    ]);
    for (const { stdout, status } of runs) {
      expect(status).toBe(0);
      const { ids, text: back } = JSON.parse(stdout);
      expect(back).toBe(text);
      expect(ids.slice(0, 5)).toEqual([1, 322, 242, 190, 194]); // <s> ▁ and the three bytes of the mark
    }
  });

  test("what is not UTF-8 is named", async () => {
    await withFile(Uint8Array.of(0x61, 0xc3), async (path) => {
      const { status, stdout, stderr } = await tokenize([STORIES, "--file", path]);
      expect([status, stdout]).toEqual([3, ""]);
      expect(stderr).toStartWith(`error: ${path}: not UTF-8: byte 0xc3 at offset 1\nhint: `);
    });
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
