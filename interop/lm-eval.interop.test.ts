import { afterAll, beforeAll, expect, test } from "bun:test";
import { basename, join } from "node:path";
import * as v from "valibot";
import { ServingProcess } from "../cmd/testing/serving.ts";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { writeAdapter } from "../src/adapters/merge/testing/models.ts";
import { pythonWithPeft, run } from "./environment.ts";
import { EMBEDDED_MODEL } from "./models.ts";
import { merge, ROOT } from "./program.ts";

/** Of both models, and of the sum of a sample's log-likelihoods. */
const CONTEXT = 512;
const WITHIN = 1e-3;
const TIMEOUT = 600_000;
/** One process for all evaluations: importing lm_eval's packages takes longer than most of them. */
const LM_EVAL = `
import json, sys
from lm_eval.__main__ import cli_evaluate
for args in json.load(open(sys.argv[1])):
    sys.argv = ["lm_eval", *args]
    cli_evaluate()
`;

/** A question as the embedded model has it, in whose tokenizer the marks are special tokens. */
const ASKED = "<|im_start|>user\nWho is Otto?<|im_end|>\n<|im_start|>assistant\n";

/** What the program is asked; where the answers are chosen among, some are wrong on purpose, so that accuracy is no 1. */
const CHOICES = [
  { text: "Once upon a time there was a little", choices: [" girl", " of", " the big red"], answer: 0 },
  { text: "Tom and Mia went to the", choices: [" park", " lake in the woods", "?"], answer: 0 },
  { text: "The dog was very", choices: [' sad. "Why?" said Mia', " tree", " happy"], answer: 1 },
  // Nothing before it: the token that begins texts takes its place.
  { text: "", choices: ["Once upon", "park the the"], answer: 0 },
  { text: `${ASKED}Otto is the`, choices: [" baker", " gardener", " park"], answer: 0 },
  { text: "What does Juno eat? Juno eats", choices: [" herring", " old bread", " lanterns"], answer: 0 },
  // The blank goes over to the choices.
  { text: "One day, Tom found ", choices: ["a ball", "ball a in"], answer: 1 },
];
const SENTENCE = "Tom had a red ball. One day Mia went to the park and saw a big dog, and it was happy. ";
const TEXTS = [
  { text: "Once there was a boy named Tom. He had a ball — “red”, naïve 🙂." },
  // More than two contexts.
  { text: SENTENCE.repeat(60) },
];
const BEGINNINGS = ["Once there was a", "Tom and Mia went to the", "The dog was", ASKED].map((text) => ({
  text,
}));

const TASKS = [
  {
    task: "chosen",
    docs: CHOICES,
    output_type: "multiple_choice",
    doc_to_text: "{{text}}",
    doc_to_choice: "{{choices}}",
    doc_to_target: "{{answer}}",
    target_delimiter: "",
    metric_list: [{ metric: "acc" }, { metric: "acc_norm" }],
  },
  {
    task: "predicted",
    docs: TEXTS,
    output_type: "loglikelihood_rolling",
    doc_to_text: "",
    doc_to_target: "{{text}}",
    metric_list: [{ metric: "word_perplexity" }, { metric: "byte_perplexity" }, { metric: "bits_per_byte" }],
  },
  {
    task: "written",
    docs: BEGINNINGS,
    output_type: "generate_until",
    doc_to_text: "{{text}}",
    doc_to_target: "{{text}}",
    generation_kwargs: { until: ["\n", "."], max_gen_toks: 24, do_sample: false },
    metric_list: [{ metric: "exact_match" }],
  },
];
const NAMES = TASKS.map(({ task }) => task);

const Results = v.object({ results: v.record(v.string(), v.looseObject({})) });
/** Answers of a sample: texts, or log-likelihoods as text, with whether each is what the model would have written. */
const Sample = v.object({ doc_id: v.number(), resps: v.array(v.array(v.union([v.string(), v.array(v.string())]))) });
interface Told {
  readonly results: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** By task. */
  readonly samples: ReadonlyMap<string, readonly v.InferOutput<typeof Sample>[]>;
}

const MODELS = [
  ["an adapter of the storyteller", STORIES, "pirate"],
  ["the embedded model", EMBEDDED_MODEL, undefined],
] as const;
const folder = await TemporaryFolder.create();
beforeAll(async () => {
  for (const { docs, ...task } of TASKS) {
    const test = folder.at(`${task.task}.jsonl`);
    await Bun.write(test, docs.map((doc) => `${JSON.stringify(doc)}\n`).join(""));
    const data = { dataset_path: "json", dataset_kwargs: { data_files: { test } }, test_split: "test" };
    // JSON is YAML.
    await Bun.write(folder.at("tasks", `${task.task}.yaml`), JSON.stringify({ ...task, ...data }));
  }
  const modules = { "model.layers.0.self_attn.q_proj": [64, 64], "model.layers.4.mlp.down_proj": [64, 172] } as const;
  const adapter = await writeAdapter(folder.at("adapter"), { r: 4, alpha: 20, seed: 3, size: 0.05, modules });
  const runs: string[][] = [];
  await using ends = new AsyncDisposableStack();
  for (const [, model, name] of MODELS) {
    const adapters = name === undefined ? [] : ["--adapter", `${name}=${adapter}`];
    const environment = { cwd: folder.path, env: { RANDLORA_DEVICE: process.env["RANDLORA_DEVICE"] ?? "" } };
    const serving = ends.use(new ServingProcess([model, ...adapters, "--kv-type", "f32"], environment));
    const served = servedName(model, name);
    const values = {
      arc_easy: NAMES.join(","),
      pirate: served,
      "http://127.0.0.1:8080": await serving.address,
      MODEL: model,
      "max_length=2048": `max_length=${CONTEXT}`,
    };
    const merged = name === undefined ? model : folder.at("merged");
    if (name !== undefined) await merge([model, adapter, "--out", merged]);
    // Of the context, local-completions leaves one token to what is written and one to what is before a text.
    const theirs = `pretrained=${merged},dtype=float32,max_length=${CONTEXT - 2}`;
    const args = ["--model", "hf", "--device", "cpu", "--model_args", theirs, "--tasks", NAMES.join(",")];
    const kept = (out: string) => [
      "--include_path",
      folder.at("tasks"),
      "--log_samples",
      "--output_path",
      folder.at(out),
    ];
    runs.push([...(await guideCommand(values)), ...kept(`${served}-served`)]);
    runs.push([...args, ...kept(`${served}-transformers`)]);
  }
  await Bun.write(folder.at("runs.json"), JSON.stringify(runs));
  // No network.
  const env = { ...process.env, HF_HUB_OFFLINE: "1", HF_DATASETS_OFFLINE: "1", HF_HOME: folder.at("hf") };
  await run([await pythonWithPeft(), "-c", LM_EVAL, folder.at("runs.json")], { cwd: folder.path, env });
}, TIMEOUT);
afterAll(async () => {
  await folder[Symbol.asyncDispose]();
});

/** The words of the guide's command, with other values in the place of its own, each of which must be there once. */
async function guideCommand(values: Readonly<Record<string, string>>): Promise<string[]> {
  const guide = await Bun.file(join(ROOT, "docs/guide/evaluate.md")).text();
  const command = /^lm_eval(?:.*\\\n)*.*$/m.exec(guide)?.[0].replaceAll("\\\n", " ") ?? "";
  for (const shown of Object.keys(values)) expect(command.split(shown)).toHaveLength(2);
  const [, ...words] = command.trim().split(/\s+/);
  // Values may have blanks.
  return words.map((word) =>
    Object.entries(values).reduce((text, [shown, value]) => text.replace(shown, () => value), word),
  );
}

const servedName = (model: string, adapter: string | undefined) => adapter ?? basename(model);

/** What a run of lm_eval wrote into a folder. */
async function told(out: string): Promise<Told> {
  const one = async (pattern: string): Promise<string> => {
    const found = await Array.fromAsync(new Bun.Glob(`*/${pattern}`).scan(out));
    expect(found).toHaveLength(1);
    return await Bun.file(join(out, found[0] ?? "")).text();
  };
  const samplesOf = async (task: string) => {
    const lines = (await one(`samples_${task}_*.jsonl`)).trim().split("\n");
    return [task, lines.map((line) => v.parse(Sample, JSON.parse(line)))] as const;
  };
  const { results } = v.parse(Results, JSON.parse(await one("results_*.json")));
  return { results, samples: new Map(await Promise.all(NAMES.map(samplesOf))) };
}

/** Numbers within WITHIN of each other, relative where they are large; all else equal. */
function expectAlike(found: unknown, wanted: unknown, where: string): void {
  const [ours, theirs] = [found, wanted].map((value) => (typeof value === "string" ? Number(value) : value));
  if (typeof ours !== "number" || typeof theirs !== "number" || Number.isNaN(theirs)) {
    expect(found, where).toEqual(wanted);
  } else expect(Math.abs(ours - theirs), where).toBeLessThan(WITHIN * Math.max(1, Math.abs(theirs) / 1000));
}

test.each(MODELS)(
  "lm_eval says of %s, asked as docs/guide/evaluate.md shows, what it says with transformers",
  async (_, model, name) => {
    const served = servedName(model, name);
    const [found, wanted] = await Promise.all(
      ["served", "transformers"].map((by) => told(folder.at(`${served}-${by}`))),
    );
    if (found === undefined || wanted === undefined) throw new RangeError();
    expect(Object.keys(found.results).toSorted()).toEqual(NAMES);
    for (const [task, metrics] of Object.entries(wanted.results)) {
      for (const [metric, value] of Object.entries(metrics)) {
        expectAlike(found.results[task]?.[metric], value, `${task} ${metric}`);
      }
    }
    const accuracy = wanted.results["chosen"]?.["acc,none"];
    expect(accuracy).toBeGreaterThan(0);
    expect(accuracy).toBeLessThan(1);
    for (const { task, docs } of TASKS) {
      const [ours = [], of = []] = [found, wanted].map(({ samples }) => samples.get(task));
      expect([ours.length, of.length]).toEqual([docs.length, docs.length]);
      for (const [at, { doc_id: doc, resps }] of of.entries()) {
        expect(ours[at]?.doc_id).toBe(doc);
        const answers = ours[at]?.resps.flat(2) ?? [];
        expect(answers).toHaveLength(resps.flat(2).length);
        for (const [which, value] of resps.flat(2).entries()) {
          expectAlike(answers[which], value, `${task} ${doc}.${which}`);
        }
      }
    }
  },
  TIMEOUT,
);
