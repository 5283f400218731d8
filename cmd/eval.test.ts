import { expect, test } from "bun:test";
import { expectedStories, STORIES } from "../fixtures/stories/storyteller.ts";
import { writeAdapter } from "../src/adapters/merge/testing/models.ts";
import { join } from "node:path";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { randlora, spawned } from "./testing/program.ts";

const folder = await TemporaryFolder.forTests();

const perplexity = (...args: readonly string[]) => randlora(["eval", "perplexity", ...args]);

test("without MODEL it measures the newest run, with and without what that trained", async () => {
  const modules = { "model.layers.0.mlp.up_proj": [172, 64] } as const;
  const here = folder.at("here");
  await writeAdapter(join(here, "runs/mine/adapter"), { r: 4, alpha: 64, seed: 1, size: 0.1, modules });
  await Bun.write(join(here, "runs/mine/run.json"), JSON.stringify({ model: STORIES }));
  const args = ["--file", await fileWith("Once upon a time"), "--json"];
  const { stdout, stderr } = await randlora(["eval", "perplexity", ...args], { cwd: here });
  expect(stderr).toContain("runs/mine: the newest run or merged model of this folder");
  const named = await perplexity(join(here, "runs/mine"), ...args);
  const { base, adapted } = JSON.parse(named.stdout);
  expect(JSON.parse(stdout)).toMatchObject({ base, adapted });
  expect(adapted.nll).not.toBe(base.nll);
});

async function fileWith(text: string): Promise<string> {
  const path = folder.at("text");
  await Bun.write(path, text);
  return path;
}

test("a text's perplexity is transformers'", async () => {
  const [{ text, ids, nll }] = await expectedStories();
  const { stdout, status } = await perplexity(STORIES, "--file", await fileWith(text), "--json", "--quiet");
  expect(status).toBe(0);
  const { tokens, base } = JSON.parse(stdout);
  expect(tokens).toBe(ids.length - 1);
  expect(Math.abs(base.nll - nll)).toBeLessThan(1e-4 * nll);
  expect(base.perplexity).toBeCloseTo(Math.exp(base.nll), 6);
  const args = [STORIES, "--file", await fileWith(text), "--context", "8", "--quiet", "--profile"];
  const shown = await perplexity(...args);
  expect(shown.stdout).toMatch(/tokens predicted at [\d,]+ a second, in windows of 8\n\nkernel /);
  const { profile } = JSON.parse((await perplexity(...args, "--json")).stdout);
  expect(profile[0]).toEqual({ kernel: expect.any(String), calls: expect.any(Number), seconds: expect.any(Number) });
});

test("an adapter stands beside the base, and so does what merging leaves of it", async () => {
  const modules = { "model.layers.0.mlp.up_proj": [172, 64] } as const;
  const adapter = await writeAdapter(folder.at("adapter"), { r: 4, alpha: 64, seed: 1, size: 0.1, modules });
  const [{ text }] = await expectedStories();
  const args = [STORIES, "--adapter", adapter, "--merged", "--file", await fileWith(text), "--quiet"];
  const { status, stdout } = await perplexity(...args, "--json");
  expect(status).toBe(0);
  const { base, adapted, merged } = JSON.parse(stdout);
  expect(adapted.nll).not.toBe(base.nll);
  expect(adapted.perplexity).toBeCloseTo(Math.exp(adapted.nll), 6);
  expect(merged).toEqual(adapted);
  const lines = (await perplexity(...args)).stdout.split("\n");
  expect(lines.map((line) => line.trim().split(/ {2,}/)[0])).toEqual([
    "nll",
    "base",
    "adapted, in f32",
    "merged, in f32",
    expect.stringContaining("tokens predicted"),
    "",
  ]);
  const other = await perplexity(...args.slice(0, 3), "--scale", "0", ...args.slice(4), "--json");
  expect(JSON.parse(other.stdout).adapted).toEqual(base);
});

test("the text may come on stdin", async () => {
  const text = "Once upon a time";
  const path = await fileWith(text);
  const found = await perplexity(STORIES, "--file", path, "--json", "--quiet");
  const piped = await spawned(["eval", "perplexity", STORIES, "--file", "-", "--json", "--quiet"], { stdin: text });
  const { tokens_per_s: _, ...wanted } = JSON.parse(found.stdout);
  expect({ ...piped, stdout: JSON.parse(piped.stdout) }).toMatchObject({ status: 0, stderr: "", stdout: wanted });
});

test("wrong use and bad input are told apart", async () => {
  expect(await perplexity(STORIES)).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("--file is missing"),
  });
  const far = await perplexity(STORIES, "--file", await fileWith("Once"), "--context", "600");
  expect(far).toMatchObject({ status: 2, stderr: expect.stringContaining("the model's context is 512 tokens") });
  const missing = await perplexity(STORIES, "--file", folder.at("nowhere"));
  expect(missing).toMatchObject({ status: 1, stderr: expect.stringContaining("nowhere: no such file") });
  const merged = await perplexity(STORIES, "--file", "-", "--merged");
  expect(merged).toMatchObject({ status: 2, stderr: expect.stringContaining("--merged needs an adapter") });
  const scaled = await perplexity(STORIES, "--file", "-", "--scale", "1");
  expect(scaled).toMatchObject({ status: 2, stderr: expect.stringContaining("--scale needs an adapter") });
});
