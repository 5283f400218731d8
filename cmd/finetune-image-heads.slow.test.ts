// Heads that are trained on images: what is trained of them, what they go on from, and where they have no place.
import { expect, test } from "bun:test";
import { cp } from "node:fs/promises";
import { LORA, ImageFolder } from "./testing/image-data.ts";
import { randlora } from "./testing/images.ts";

const ANEW = "the model's own head is replaced by a new, untrained one";

const place = await ImageFolder.forTests();
const at = place.at.bind(place);
const finetune = place.finetune.bind(place);
const train = place.train.bind(place);
const trainWith = place.trainWith.bind(place);
const evaluate = place.evaluate.bind(place);

test("a model's own head of the data's classes goes on, in its order of them; --new-head draws one", async () => {
  await train("trained", "dinov2", ...LORA, "--epochs", "3", "--learning-rate", "1e-2");
  expect((await randlora("merge", at("dinov2"), at("trained"), "--out", at("trained-merged"))).status).toBe(0);
  const found = await evaluate("trained-merged", "--split", "valid");
  const short = ["--steps", "1", "--learning-rate", "1e-3"];
  const goesOn = { step: 0, valid_accuracy: found.accuracy, valid_loss: expect.closeTo(found.loss, 5) };
  for (const method of [LORA, ["--method", "full", "--head", "linear", "--batch-size", "6"]]) {
    const { metrics } = await train(`on-${method[1]}`, "trained-merged", ...method, ...short);
    expect(metrics[0]).toMatchObject(goesOn);
  }
  const drawn = await trainWith(`warning: ${ANEW}\n`, "drawn", "trained-merged", ...LORA, ...short, "--new-head");
  expect(drawn.metrics[0]).not.toMatchObject(goesOn);
  expect(drawn.run.images.new_head).toBe(true);

  // Rows by other names are other labels; without names the data's order is taken.
  await cp(at("trained-merged"), at("turned-head"), { recursive: true });
  const config = await Bun.file(at("turned-head", "config.json")).json();
  const named = async (id2label: object | undefined) =>
    await Bun.write(at("turned-head", "config.json"), JSON.stringify({ ...config, id2label, label2id: undefined }));
  await named({ 0: "owl", 1: "cat", 2: "dog" });
  await train("turned-on", "turned-head", ...LORA, ...short);
  expect(await Bun.file(at("turned-on", "adapter", "classes.json")).json()).toEqual(["owl", "cat", "dog"]);
  await named({ 0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2" });
  const { metrics } = await train("unnamed", "turned-head", ...LORA, ...short);
  expect(metrics[0]).toMatchObject(goesOn);
  const both = await finetune("trained-merged", "--init-adapter", at("trained"), "--new-head");
  expect([both.status, both.stderr]).toEqual([2, expect.stringContaining("--new-head: the adapter")]);
});

test("a model that has a head: merging another one names its classes; one of another size has no place", async () => {
  await train("first", "dinov2", ...LORA, "--steps", "1");
  expect((await randlora("merge", at("dinov2"), at("first"), "--out", at("headed"))).status).toBe(0);
  const names = ["ant", "bee", "cow"];
  for (const [i, name] of ["cat", "dog", "owl"].entries()) {
    await cp(at("data", "train", name), at("others", "train", names[i] ?? ""), { recursive: true });
  }
  await trainWith(`warning: ${ANEW}\n`, "second", "headed", ...LORA, "--steps", "2", "--data", at("others"));
  const told = async (model: string, ...args: readonly string[]) =>
    (await finetune(model, ...args, "--dry-run")).stdout;
  expect(await told("headed", ...LORA, "--data", at("others"))).toContain(ANEW);
  expect(await told("headed", "--init-adapter", at("second"), "--data", at("others"))).not.toContain(ANEW);
  expect(await told("dinov2", ...LORA)).not.toContain(ANEW);
  expect((await randlora("merge", at("headed"), at("second"), "--out", at("renamed"))).status).toBe(0);
  const config = await Bun.file(at("renamed", "config.json")).json();
  expect([config.id2label, config.architectures]).toEqual([
    { "0": "ant", "1": "bee", "2": "cow" },
    ["Dinov2ForImageClassification"],
  ]);
  await cp(at("data", "train", "cat"), at("others", "train", "eel"), { recursive: true });
  const { status, stderr } = await finetune("headed", ...LORA, "--data", at("others"));
  expect([status, stderr]).toEqual([3, expect.stringContaining("is [3, 16], and the data need [4, 16]")]);
  const drawn = await finetune("headed", ...LORA, "--data", at("others"), "--new-head");
  expect([drawn.status, drawn.stderr]).toEqual([3, expect.stringContaining("head, new or not, takes the place of")]);
});

test("an adapter to go on from must not adapt what the task leaves out", async () => {
  await train("pairs", "clip", ...LORA, "--task", "contrastive", "--steps", "1");
  const further = async (...args: readonly string[]) => {
    const { status, stderr } = await finetune("clip", "--init-adapter", at("pairs"), ...args, "--dry-run");
    return status === 0 ? "" : stderr;
  };
  for (const args of [
    ["--head", "linear"],
    ["--head", "zero-shot"],
    ["--task", "contrastive", "--towers", "vision"],
  ]) {
    expect(await further(...args)).toContain('it adapts "text_model.encoder.layers.0.self_attn.q_proj"');
  }
  expect(await further("--task", "contrastive")).toBe("");
});
