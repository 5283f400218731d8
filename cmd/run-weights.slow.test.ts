// A run stands for its best weights where there are some, with every method, and says so.
import { expect, test } from "bun:test";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { FinetuneFolder, LORA } from "./testing/finetune.ts";
import { startProgram } from "./testing/program.ts";

const place = await FinetuneFolder.forTests();

/** Trains with a rate that is too high, until the validation loss no longer falls. */
async function overfit(rate: string, ...more: readonly string[]): Promise<void> {
  const common = ["--data", "data.jsonl", "--eval-every", "1", "--schedule", "constant", "--quiet"];
  const length = ["--steps", "30", "--early-stop", "2", "--learning-rate", rate];
  const run = await place.run({}, STORIES, ...common, ...length, ...more);
  expect(run).toMatchObject({ status: 0, stdout: "", stderr: "" });
}

async function perplexity(...args: readonly string[]) {
  const found = await place.randlora({}, "eval", "perplexity", ...args, "--file", "book.txt", "--json");
  expect(found.status).toBe(0);
  const { base, adapted = base } = JSON.parse(found.stdout);
  return { nll: adapted.nll, stderr: found.stderr };
}

test.each([
  ["lora", "adapter", "1e-1"],
  ["full", "model", "1e-2"],
])("--method %s: the best step, not the last of an early stop", async (method, last, rate) => {
  await Bun.write(place.at("book.txt"), "Once upon a time there was a cat. The cat had a red ball.");
  const own = method === "lora" ? ["--targets", "q_proj,v_proj"] : [];
  await overfit(rate, "--valid-split", "0.2", "--method", method, "--out", method, ...own);
  const whole = await perplexity(method);
  const named = (name: string) =>
    method === "full" ? [`${method}/${name}`] : [STORIES, "--adapter", `${method}/${name}`];
  const [best, end] = [await perplexity(...named("best")), await perplexity(...named(last))];
  expect(whole.nll).toBe(best.nll);
  // Named as MODEL, what lies in a run stands for the model that it was trained for as well.
  expect((await perplexity(`${method}/best`)).nll).toBe(best.nll);
  expect((await perplexity(`${method}/${last}`)).nll).toBe(end.nll);
  if (method === "lora") {
    const merged = await place.randlora({}, "merge", "lora/best", "--dry-run");
    expect(merged.stdout).toMatch(/would write +\S+\/lora-best-merged\n/);
  }
  expect(whole.nll).not.toBe(end.nll);
  const [line = "", ...others] = whole.stderr.split("\n").filter((one) => one.startsWith(`${method}: `));
  expect(others).toEqual([]);
  expect(line).toMatch(/^\w+: its best step, \d+ of \d+ \(validation loss [\d.]+\); the last one is /);
  expect(line).toEndWith(`${method}/${last}`);
  expect(best.stderr).not.toContain("its best step");
});

test("nothing is said of a run whose best step is its last", async () => {
  await Bun.write(place.at("book.txt"), "Once upon a time there was a cat.");
  const common = ["--data", "data.jsonl", "--valid-split", "0.2", ...LORA];
  const trained = await place.run({}, STORIES, ...common, "--steps", "2", "--out", "better", "--json");
  expect(JSON.parse(trained.stdout)).toMatchObject({ steps: 2, best_step: 2 });
  expect((await perplexity("better")).stderr).not.toContain("better");
});

test("where no step improved on the beginning, the run is what it was before training", async () => {
  await Bun.write(place.at("book.txt"), "Once upon a time there was a cat.");
  await Bun.write(place.at("known.jsonl"), '{"text": "Once upon a time there was a cat."}');
  for (const [method, last, ...own] of [
    ["lora", "adapter", "--targets", "q_proj"],
    ["full", "model"],
  ] as const) {
    const out = `${method}-worse`;
    await overfit("1", "--valid", "known.jsonl", "--method", method, "--out", out, ...own);
    const [base, run] = [await perplexity(STORIES), await perplexity(out)];
    expect(run.nll).toBe(base.nll);
    expect(run.stderr).toMatch(/: step 0, as it was before training: no later step had a lower loss \(/);
    expect(run.stderr).toContain(`the last one is ${out}/${last}`);
  }
});

test("a run that was stopped before any later step was validated says so", async () => {
  await Bun.write(place.at("book.txt"), "Once upon a time there was a cat.");
  const args = ["--data", "data.jsonl", "--valid-split", "0.2", ...LORA, "--steps", "5000", "--eval-every", "5000"];
  const running = startProgram(["finetune", STORIES, ...args, "--out", "cut"], { cwd: place.path });
  const metrics = Bun.file(place.at("cut/metrics.jsonl"));
  while (!(await metrics.text().catch(() => "")).includes('"step":1,')) await Bun.sleep(20);
  running.kill("SIGINT");
  const [shown, status] = await Promise.all([running.stdout.text(), running.exited]);
  expect([status, shown]).toEqual([130, expect.stringContaining("as no later step was validated yet")]);
  expect((await perplexity("cut")).stderr).toContain("no later step was validated yet; the last one is cut/adapter");
}, 60_000);
