// `randlora chat` with an adapter or a run: the answers of what merge writes, and the form of the samples that it was trained on.
import { expect, test } from "bun:test";
import { join } from "node:path";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { writeAdapter } from "../src/adapters/merge/testing/models.ts";
import { FinetuneFolder } from "./testing/finetune.ts";

const folder = await FinetuneFolder.forTests();
const chat = (args: readonly string[]) => folder.randlora({}, "chat", ...args);

test("an adapter answers as the merged folder does, and without MODEL that is what is taken", async () => {
  const adapter = await writeAdapter(folder.at("adapter"), {
    r: 4,
    alpha: 80,
    seed: 3,
    size: 0.05,
    modules: { "model.layers.0.self_attn.q_proj": [64, 64], "model.layers.4.mlp.down_proj": [64, 172] },
  });
  const args = ["--raw", "--temperature", "0", "--max-tokens", "40", "-p", "Once upon a time", "--json"];
  const tokens = (stdout: string) => JSON.parse(stdout).tokens;
  const base = tokens((await chat([STORIES, ...args])).stdout);
  const adapted = tokens((await chat([STORIES, "--adapter", adapter, "--scale", "0.5", ...args])).stdout);
  await folder.randlora({}, "merge", STORIES, adapter, "--scale", "0.5", "--out", folder.at("stories-merged"));
  const merged = await chat(args);
  expect(merged.stderr).toContain("stories-merged: the newest run or merged model of this folder");
  expect(tokens(merged.stdout)).toEqual(adapted);
  expect(adapted).not.toEqual(base);
});

test("--dtype, and an adapter on the tied output matrix: the answers of the folder that merge writes", async () => {
  const head = await writeAdapter(folder.at("head"), {
    r: 4,
    alpha: 80,
    seed: 4,
    size: 0.05,
    modules: { lm_head: [512, 64], "model.layers.1.mlp.up_proj": [172, 64] },
  });
  const greedy = ["--raw", "--temperature", "0", "-n", "24", "-p", "Once upon", "--json"];
  const answers: unknown[] = [];
  for (const dtype of ["keep", "bf16"]) {
    const out = folder.at(`merged-${dtype}`);
    const merged = await folder.randlora({}, "merge", STORIES, head, "--dtype", dtype, "-o", out);
    expect(merged).toMatchObject({ status: 0 });
    const { text, tokens } = JSON.parse((await chat([out, ...greedy])).stdout);
    const adapted = await chat([STORIES, "--adapter", head, "--dtype", dtype, ...greedy]);
    expect(JSON.parse(adapted.stdout)).toMatchObject({ text, tokens });
    answers.push(text);
  }
  expect(answers[0]).not.toBe(JSON.parse((await chat([STORIES, ...greedy])).stdout).text);
});

test("a run on prompts and completions is talked to as it was trained; one on chats by the chat template", async () => {
  const completions = Array.from({ length: 4 }, (_, i) => ({ prompt: `Q${i}`, completion: " yes" }));
  const chats = completions.map(({ prompt, completion }) => ({
    messages: [
      { role: "user", content: prompt },
      { role: "assistant", content: completion },
    ],
  }));
  const answer = async (...args: string[]) => {
    const more = ["-p", "Q1", "--temperature", "0", "--max-tokens", "4", "--json"];
    const { stdout, stderr, status } = await chat([...args, ...more]);
    expect(status).toBe(0);
    return { prompt: JSON.parse(stdout).prompt_tokens, stderr };
  };
  for (const [name, samples, format] of [
    ["completions", completions, "completion"],
    ["chats", chats, "chat"],
  ] as const) {
    const data = folder.at(`${name}.jsonl`);
    await Bun.write(data, samples.map((sample) => JSON.stringify(sample)).join("\n"));
    const run = folder.at(`run-${name}`);
    const trained = await folder.randlora({}, "finetune", "embedded", "--data", data, "--steps", "1", "--out", run);
    expect(trained.status).toBe(0);
    expect(await Bun.file(join(run, "run.json")).json()).toMatchObject({ sample_format: format });
    const [own, raw, template] = [await answer(run), await answer(run, "--raw"), await answer(run, "--no-raw")];
    expect(raw.prompt).toBeLessThan(template.prompt);
    expect(own.prompt).toBe(format === "chat" ? template.prompt : raw.prompt);
    const isSaid = ({ stderr }: typeof own) => stderr.includes("trained without the chat template");
    expect(isSaid(own)).toBe(format !== "chat");
    for (const adapter of [run, join(run, "adapter")]) {
      const beside = await answer("embedded", "--adapter", adapter);
      expect([beside.prompt, isSaid(beside)]).toEqual([own.prompt, isSaid(own)]);
    }
    const merged = await folder.randlora({}, "merge", run, "--out", folder.at(`merged-${name}`));
    expect([merged.status, merged.stderr.includes("--raw")]).toEqual([0, format !== "chat"]);
    // A base that was trained on chats decides, as it does for chat.
    const base = folder.at(`full-${name}`, "model");
    await folder.randlora({}, "merge", run, "--out", base);
    await Bun.write(
      folder.at(`full-${name}`, "run.json"),
      JSON.stringify({ model: "embedded", sample_format: "chat" }),
    );
    const again = await folder.randlora({}, "merge", base, join(run, "adapter"), "--out", folder.at(`again-${name}`));
    expect([again.status, again.stderr.includes("--raw")]).toEqual([0, false]);
    // Who asks for a system message asks for the template.
    expect((await answer(run, "--system", "Be brief")).prompt).toBeGreaterThan(template.prompt);
  }
});
