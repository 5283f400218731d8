import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cleanEnvironment } from "../src/options/testing/spawn.ts";

const STORIES = join(import.meta.dir, "..", "..", "shared", "models", "stories260k");
const START_TIMEOUT = 120_000;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "randlora-eval-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function perplexity(...args: readonly string[]) {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "main.ts"), "eval", "perplexity", ...args], {
    env: cleanEnvironment(),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { status, stdout, stderr };
}

async function fileWith(text: string): Promise<string> {
  const path = join(folder, "text");
  await Bun.write(path, text);
  return path;
}

test(
  "a text's perplexity is transformers'",
  async () => {
    const { texts } = await Bun.file(join(STORIES, "expected.json")).json();
    const [{ text, ids, nll }] = texts;
    const { stdout, status } = await perplexity(STORIES, "--file", await fileWith(text), "--json", "--quiet");
    expect(status).toBe(0);
    const { tokens, base } = JSON.parse(stdout);
    expect(tokens).toBe(ids.length - 1);
    expect(Math.abs(base.nll - nll)).toBeLessThan(1e-4 * nll);
    expect(base.perplexity).toBeCloseTo(Math.exp(base.nll), 6);
    const shown = await perplexity(STORIES, "--file", await fileWith(text), "--context", "8", "--quiet");
    expect(shown.stdout).toContain("tokens predicted, in windows of 8\n");
  },
  START_TIMEOUT,
);

test(
  "wrong use and bad input are told apart",
  async () => {
    expect(await perplexity(STORIES)).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("--file is missing"),
    });
    const far = await perplexity(STORIES, "--file", await fileWith("Once"), "--context", "600");
    expect(far).toMatchObject({ status: 2, stderr: expect.stringContaining("the model's context is 512 tokens") });
    const missing = await perplexity(STORIES, "--file", join(folder, "nowhere"));
    expect(missing).toMatchObject({ status: 1, stderr: expect.stringContaining("nowhere") });
  },
  START_TIMEOUT,
);
