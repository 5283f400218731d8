// What fine-tuning on images refuses, and which images: in one line, and leaving nothing behind.
import { describe, expect, test } from "bun:test";
import { cp, mkdir, readdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { LORA, ImageFolder } from "./testing/image-data.ts";
import { image, randlora } from "./testing/images.ts";

const place = await ImageFolder.forTests();
const at = place.at.bind(place);
const finetune = place.finetune.bind(place);

describe("bad images", () => {
  /** The training data and one more file. */
  async function withBad(name: string, file: string | Uint8Array): Promise<string> {
    const folder = at(`bad-${name}`);
    await cp(at("data", "train"), join(folder, "train"), { recursive: true });
    const path = join(folder, "train", "dog", name);
    if (typeof file === "string") await cp(image(file), path);
    else await Bun.write(path, file);
    return folder;
  }
  /** The header of an image of 10,001 × 10,000. */
  const huge = new TextEncoder().encode("P6\n10001 10000\n255\n");

  test.each([
    ["cut.jpg", "half.jpg", "the JPEG is cut short"],
    ["text.png", new TextEncoder().encode("no image"), "not an image of a known format"],
    ["empty.png", new Uint8Array(), ""],
    ["huge.ppm", huge, "more than 100,000,000"],
    ["film.png", "film.png", "animated"],
  ])("%s ends the run in one line, and leaves nothing", async (name, file, message) => {
    const folder = await withBad(name, file);
    const { status, stderr, stdout } = await finetune(
      "dinov2",
      ...LORA,
      "--batch-size",
      "32",
      "--data",
      folder,
      "--out",
      at("none"),
    );
    expect([status, stdout]).toEqual([3, ""]);
    const lines = stderr.split("\n").filter((line) => line.startsWith("error: "));
    expect(lines).toEqual([expect.stringContaining(join("train", "dog", name))]);
    expect(lines[0]).toContain(message);
    expect(stderr).toContain("--skip-bad-images");
    expect(await readdir(place.path)).not.toContain("none");
  });

  test("are left out, counted and named where that was asked for", async () => {
    const folder = await withBad("skip.jpg", "half.jpg");
    await symlink(at("nowhere.jpg"), join(folder, "train", "owl", "gone.jpg"));
    const args = [...LORA, "--data", folder, "--epochs", "2", "--skip-bad-images", "--out", at("skipped"), "--json"];
    const { status, stderr, stdout } = await finetune("dinov2", ...args);
    expect(status).toBe(0);
    const told = stderr.split("\n").filter((line) => line.includes("left out"));
    const names = [join("train", "dog", "skip.jpg"), join("train", "owl", "gone.jpg")];
    expect(told).toHaveLength(2);
    for (const name of names) expect(told).toContainEqual(expect.stringContaining(name));
    expect(JSON.parse(stdout)).toMatchObject({ bad_images: 2, tokens: 48, steps: 10 });
  });
});

describe("refused", () => {
  test.each<[string, string, readonly string[], string, number]>([
    ["flags of texts", "dinov2", ["--packing"], "--packing has no meaning with a model of images", 2],
    ["a length", "dinov2", ["--max-length", "8"], "--max-length has no meaning with a model of images", 2],
    [
      "several micro-batches of pairs",
      "clip",
      ["--task", "contrastive", "--grad-accum", "2"],
      "--grad-accum 2: the contrastive loss",
      2,
    ],
    [
      "texts without an encoder of them",
      "dinov2",
      ["--head", "zero-shot"],
      "--head zero-shot: this model has no encoder of texts",
      2,
    ],
    [
      "pairs without an encoder of texts",
      "dinov2",
      ["--task", "contrastive"],
      "--task contrastive: this model has no encoder",
      2,
    ],
    [
      "prompts that nobody reads",
      "clip",
      ["--head", "cls", "--templates", "simple"],
      "--templates has no meaning with --head cls",
      2,
    ],
    [
      "a rate for a head that is frozen",
      "clip",
      ["--head-learning-rate", "1"],
      "--head-learning-rate has no meaning with --head zero-shot",
      2,
    ],
    ["towers of a classifier", "clip", ["--towers", "both"], "--towers has no meaning with --task classify", 2],
    ["a new frozen head", "clip", ["--new-head"], "--new-head has no meaning with --head zero-shot", 2],
    [
      "prompts that are too long",
      "clip",
      ["--templates", "openai"],
      'class "cat": a prompt of 10 tokens, and this model takes 6',
      3,
    ],
    ["validation on the training data", "dinov2", ["--valid", "TRAIN"], "the training images", 3],
    [
      "blocks of what is trained",
      "clip",
      ["--quantize", "q8", "FULL"],
      "--quantize q8 has no meaning with --method full",
      2,
    ],
    ["two parts", "clip", ["--shots", "1", "--fraction", "0.5"], "--shots and --fraction", 2],
    ["no data", "dinov2", ["--data", "/nowhere"], "/nowhere: no such file or folder", 1],
    ["an unknown set", "dinov2", ["--dataset", "cats"], "not a known set", 2],
  ])("%s", async (_, model, args, message, status) => {
    const given = args.map((arg) => (arg === "TRAIN" ? at("data", "train") : arg));
    const method = args.includes("FULL") ? ["--method", "full"] : LORA;
    const flags = given.filter((arg) => arg !== "FULL");
    const { stdout, stderr, status: found } = await finetune(model, ...method, ...flags, "--out", at("refused"));
    expect([stdout, found]).toEqual(["", status]);
    expect(stderr.split("\n").filter((line) => line.startsWith("error: "))).toEqual([expect.stringContaining(message)]);
    expect(await readdir(place.path)).not.toContain("refused");
  });

  test("flags of images with a language model", async () => {
    const { stderr, status } = await randlora("finetune", STORIES, "--data", at("data"), "--head", "linear");
    expect([status, stderr]).toEqual([2, expect.stringContaining("--head has no meaning with a language model")]);
    const shots = await randlora("finetune", STORIES, "--data", at("data"), "--shots", "2");
    expect([shots.status, shots.stderr]).toEqual([2, expect.stringContaining("--shots has no meaning")]);
  });

  test("a run that goes on with other images", async () => {
    await cp(at("data", "train"), at("moving", "train"), { recursive: true });
    const args = [...LORA, "--schedule", "constant", "--data", at("moving"), "--steps", "1", "--out", at("run")];
    expect((await finetune("dinov2", ...args)).status).toBe(0);
    await cp(image("rgb.png"), at("moving", "train", "dog", "3.ppm"));
    const { status, stderr } = await randlora("finetune", "--resume", at("run"), "--steps", "2");
    expect([status, stderr]).toEqual([3, expect.stringContaining("not the data that the run began with")]);
  });

  test("data without two classes, without images in one, and with a list that leads out of the folder", async () => {
    const refusal = async (folder: string) => {
      const { status, stderr } = await finetune("dinov2", ...LORA, "--data", folder, "--out", at("refused"));
      expect(status).toBe(3);
      expect(await readdir(place.path)).not.toContain("refused");
      return stderr;
    };
    await cp(at("data", "train", "cat"), at("one", "train", "cat"), { recursive: true });
    expect(await refusal(at("one"))).toContain('all images are of class "cat"');
    const part = await finetune("dinov2", ...LORA, "--fraction", "0.05", "--out", at("refused"));
    expect([part.status, part.stderr]).toEqual([
      3,
      expect.stringMatching(/all images are of class .*\n.*larger --fraction/),
    ]);
    await cp(at("data", "train"), at("gap", "train"), { recursive: true });
    await mkdir(at("gap", "train", "eel"));
    expect(await refusal(at("gap"))).toMatch(/error: .*gap\/train\/eel: no images/);
    await mkdir(at("list"));
    await Bun.write(at("list", "train.csv"), "path,label\n../data/train/cat/0.ppm,cat\n");
    expect(await refusal(at("list"))).toContain("outside of the list's folder");
    await mkdir(at("bare"));
    expect(await refusal(at("bare"))).toContain("no train split");
  });
});
