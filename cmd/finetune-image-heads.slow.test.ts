// Heads that are trained on images: what is trained of them, what they go on from, and where they have no place.
import { describe, expect, test } from "bun:test";
import { cp, readdir } from "node:fs/promises";
import { openAdapter } from "../src/adapters/formats/open.ts";
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

describe("heads", () => {
  test("have a learning rate of their own; with a rate of 0 for the adapter only they are trained", async () => {
    const args = [...LORA, "--head", "cls", "--learning-rate", "0", "--head-learning-rate", "0.05", "--epochs", "4"];
    const { metrics } = await train("probe", "clip", ...args);
    expect(metrics.some((line) => "learning_rate" in line && line.learning_rate !== 0)).toBe(false);
    await using adapter = await openAdapter(at("probe"));
    const values = async (name: string) => {
      const bytes = (await adapter.tensors.get(name)?.readAll()) ?? new Uint8Array(4);
      return new Float32Array(bytes.buffer);
    };
    const names = [...adapter.tensors.keys()].filter((name) => name.includes("lora_B"));
    for (const name of names) expect((await values(name)).every((value) => value === 0)).toBe(true);
    // Drawn with a deviation of 0.01, and moved by 0.05 a step.
    expect((await values("classifier.weight")).some((value) => Math.abs(value) > 0.1)).toBe(true);
    expect([...adapter.tensors.keys()]).not.toContain("classifier.bias");
  });

  test("go on with the adapter that brings them, in its order of the classes", async () => {
    await train("begun", "dinov2", ...LORA, "--epochs", "3", "--learning-rate", "1e-2");
    const order = ["owl", "cat", "dog"];
    // Another order of the rows is another order of the labels.
    await cp(at("begun", "best"), at("turned"), { recursive: true });
    await Bun.write(at("turned", "classes.json"), JSON.stringify(order));
    const common = ["--batch-size", "6", "--steps", "1", "--learning-rate", "1e-3"];
    const { metrics } = await train("further", "dinov2", "--init-adapter", at("begun"), ...common);
    const found = await evaluate("begun", "--split", "valid");
    expect(metrics[0]).toMatchObject({
      step: 0,
      valid_accuracy: found.accuracy,
      valid_loss: expect.closeTo(found.loss, 5),
    });
    const turned = await train("turned-run", "dinov2", "--init-adapter", at("turned"), ...common);
    expect(await Bun.file(at("turned-run", "adapter", "classes.json")).json()).toEqual(order);
    const valid = (metric: unknown) =>
      typeof metric === "object" && metric !== null && "valid_loss" in metric ? Number(metric.valid_loss) : NaN;
    expect(Math.abs(valid(turned.metrics[0]) - found.loss)).toBeGreaterThan(1e-3);

    await Bun.write(at("turned", "classes.json"), JSON.stringify(["cat", "dog"]));
    const refused = await finetune("dinov2", "--init-adapter", at("turned"), "--out", at("never"));
    expect([refused.status, refused.stderr]).toEqual([3, expect.stringContaining("2 names for 3 classes")]);
    const pairs = await finetune("clip", "--init-adapter", at("begun"), "--task", "contrastive");
    expect([pairs.status, pairs.stderr]).toEqual([2, expect.stringContaining("--init-adapter has a trained head")]);
    const other = await finetune("dinov2", "--init-adapter", at("begun"), "--head", "cls");
    expect([other.status, other.stderr]).toEqual([
      2,
      expect.stringContaining("--head cls: the adapter of --init-adapter has linear"),
    ]);
  });
});

test("a whole model with a head of the class token is looked at, measured and trained on; that head takes no other's place", async () => {
  await train("own", "dinov2", "--method", "full", "--head", "cls", "--steps", "1");
  const inspected = JSON.parse((await randlora("inspect", at("own"), "--json")).stdout);
  expect(inspected).toMatchObject({ runnable: true, classes: ["cat", "dog", "owl"] });
  const further = [...LORA, "--head", "cls", "--steps", "1", "--learning-rate", "1e-2"];
  const { metrics } = await train("on", "own", ...further);
  const end = metrics.at(-1);
  const found = await evaluate("on", "--split", "valid");
  expect(end).toMatchObject({ valid_accuracy: found.accuracy, valid_loss: expect.closeTo(found.loss, 5) });
  const wrong = await finetune("own", ...LORA, "--head", "linear");
  expect([wrong.status, wrong.stderr]).toEqual([3, expect.stringContaining("is [3, 8], and the data need [3, 16]")]);
  // CLIP's heads of both kinds have matrices of one shape.
  await train("linear", "clip", "--method", "full", "--head", "linear", "--steps", "1");
  const other = await finetune("linear", ...LORA, "--head", "cls");
  expect([other.status, other.stderr]).toEqual([3, expect.stringContaining('its own "classifier.bias" would stay')]);
  await train("alone-cls", "clip", ...LORA, "--head", "cls", "--steps", "1");
  const args = ["eval", "images", at("linear"), "--adapter", at("alone-cls"), "--data", at("data")];
  const { status, stderr } = await randlora(...args);
  expect([status, stderr]).toEqual([3, expect.stringContaining("are of two heads")]);
  const merged = await randlora("merge", at("linear"), at("alone-cls"), "--out", at("mixed"));
  expect([merged.status, merged.stderr]).toEqual([3, expect.stringContaining("are of two heads")]);
  expect(await readdir(place.path)).not.toContain("mixed");
});
