import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { loadConfig } from "../src/models/decoder/architectures/index.ts";
import { loadDataSet } from "../src/data/text/samples/load.ts";
import { loadTokenizer } from "../src/data/text/load-tokenizer.ts";
import { readEndOfSequence } from "../src/data/text/stop.ts";
import { judge } from "./judge.ts";
import { EMBEDDED_MODEL } from "./models.ts";
import { randlora } from "./program.ts";

const python = await judge();
const TIMEOUT = 300_000;

interface Entry {
  readonly instruction: string;
  readonly input: string;
  readonly output: string;
  readonly answer: string;
}

const entry = (instruction: string, answer: string): Entry => ({
  instruction,
  input: "",
  output: `the correct answer is ${answer}`,
  answer,
});
const ASK = "Please answer the following question with true or false, question:";
/** By task; letters beyond ASCII, quotes, and line ends that are no line feed. */
const TASKS: Readonly<Record<string, readonly Entry[]>> = {
  // Each twice: whatever is answered is right once and wrong once.
  boolq: ["true", "false"].flatMap((answer) => [
    entry(`${ASK} is a big dog a cat?\n\nAnswer format: true/false`, answer),
    entry(`${ASK} is the “sun” hot, “très” hot\u2028?\n\nAnswer format: true/false`, answer),
    entry(`${ASK} can Lily's ball be red 🎈?\r\n\nAnswer format: true/false`, answer),
    entry(`${ASK} was the boy sad?\n\nAnswer format: true/false`, answer),
  ]),
  winogrande: [
    entry("Fill in the blank: Tom gave Sue the ball, and _ was glad.\n\nOption1: Tom Option2: Sue", "option2"),
    entry("Fill in the blank: Sue ate the cake, since _ was hungry.\n\nOption1: Sue Option2: Tom", "option1"),
  ],
  "ARC-Easy": [
    entry("What do birds do?\n\nAnswer1: fly Answer2: read Answer3: drive Answer4: cook", "answer1"),
    entry("Where do fish live?\n\nAnswer1: in trees Answer2: in the sky Answer3: in water", "answer3"),
    entry("What is cold?\n\nAnswer1: fire Answer2: ice Answer3: the sun Answer4: tea", "answer2"),
  ],
};

/** Asked, too, but not trained on: with what the protocol's script hides, where "!" is token 0. */
const LOUD: Readonly<Record<string, readonly Entry[]>> = {
  piqa: [
    entry("Help! How do I open a big door!\n\nSolution1: push ! Solution2: sing", "solution1"),
    entry("!!! A ball is !\n\nSolution1: round Solution2: sad", "solution1"),
    entry("Was Sue happy!\n\nSolution1: yes! Solution2: no!", "solution2"),
    // No answer is right here: small models give none.
    entry("Was the ball red!\n\nSolution1: yes! Solution2: no!", ""),
  ],
};

/** Of all answers: were they right? */
const right = new Set<boolean>();

let folder: string;
let data: string;
let train: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "randlora-commonsense-"));
  data = join(folder, "tasks");
  train = join(folder, "train.json");
  for (const [task, entries] of Object.entries({ ...TASKS, ...LOUD })) {
    await Bun.write(join(data, task, "test.json"), JSON.stringify(entries));
  }
  await Bun.write(train, JSON.stringify(Object.values(TASKS).flat()));
});
afterAll(() => rm(folder, { recursive: true }));

/** All tasks for one model; for the other the two that its tokenizer decides about. */
const ALL = Object.keys({ ...TASKS, ...LOUD });

describe.each([
  ["storyteller", STORIES, ["boolq", ...Object.keys(LOUD)]],
  ["the embedded model", EMBEDDED_MODEL, ALL],
] as const)("%s", (name, base, tasks) => {
  test.each([120, 256, 400])("samples of at most %d tokens are those of the field's training", async (maxLength) => {
    const tokenizer = await loadTokenizer(base);
    const { vocabularySize } = await loadConfig(base);
    const endOfSequence = await readEndOfSequence(base, tokenizer);
    const options = { tokenizer, template: undefined, endOfSequence, vocabularySize, maxLength };
    const ours = await loadDataSet([train], { ...options, prompt: "commonsense" });
    const found = Array.from({ length: ours.length }, (_, i) => [...ours.sample(i).ids]);
    const params = { base, data: train, longest: maxLength };
    expect(found).toEqual(await python.request(v.array(v.array(v.number())), "commonsense_samples", params));
  });

  test(
    "the file of answers is the protocol's, byte for byte, with an adapter that was trained for it, with its mask and without",
    async () => {
      const run = join(folder, `${name}-run`);
      const training = ["--method", "lora", "--rank", "8", "--targets", "all-linear", "--learning-rate", "1e-2"];
      const steps = ["--steps", "100", "--batch-size", "3", "--schedule", "linear", "--dtype", "f32"];
      const asked = ["--data", train, "--prompt", "commonsense", "--max-length", "400"];
      await randlora(["finetune", base, ...asked, ...training, ...steps, "--out", run, "--json"]);
      const adapter = join(run, "adapter");
      // What is evaluated: sums in the base's bf16. Of f32 sums log-probabilities differ by 0.02, and beams part at nearer ones.
      const merged = join(folder, `${name}-merged`);
      await randlora(["merge", base, adapter, "--out", merged, "--json"]);
      const texts = new Set<string>();
      const masked: boolean[] = [];
      for (const task of tasks) {
        for (const [kind, given] of [
          ["base", null],
          ["adapted", adapter],
        ] as const) {
          const written = [];
          for (const mask of task in LOUD ? [true, false] : [true]) {
            const [ours, theirs] = ["ours", "theirs"].map((whose) =>
              join(folder, `${name}-${task}-${kind}-${mask}-${whose}`),
            );
            if (ours === undefined || theirs === undefined) throw new RangeError();
            const flags = [...(given === null ? [] : ["--adapter", given]), ...(mask ? [] : ["--paper-mask"])];
            const args = [base, ...flags, "--data", data, "--tasks", task, "--out", ours, "--batch-size", "3"];
            await randlora(["eval", "commonsense", ...args, "--json"]);
            const judged = given === null ? base : merged;
            await python.request(v.null(), "commonsense", { base: judged, data, task, out: theirs, mask });
            const text = await readFile(ours, "utf8");
            expect(text, `${task}, ${kind}, ${mask}`).toBe(await readFile(theirs, "utf8"));
            written.push(text);
          }
          masked.push(new Set(written).size > 1);
          const answers = v.parse(Answers, JSON.parse(written[0] ?? ""));
          for (const { output_pred, flag } of answers) {
            texts.add(output_pred);
            right.add(flag);
          }
        }
      }
      // "!" is token 0 of one of the tokenizers; the other's is its unknown token, which these texts have not.
      expect(masked.includes(true)).toBe((await loadTokenizer(base)).encode("Hi!").includes(0));
      expect(texts.size).toBeGreaterThan(5);
    },
    TIMEOUT,
  );
});

test("some answers were right, and some were not", () => {
  expect(right.size).toBe(2);
});

const Answers = v.array(v.object({ output_pred: v.string(), flag: v.boolean() }));
