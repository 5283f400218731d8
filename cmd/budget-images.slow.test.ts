// `budget` of CLIP and DINOv2, of which config.json suffices: its counts are those that finetune comes to.
import { describe, expect, test } from "bun:test";
import { cp, mkdir } from "node:fs/promises";
import { ImageFolder } from "./testing/image-data.ts";
import { randlora } from "./testing/images.ts";

const place = await ImageFolder.forTests();
const at = place.at.bind(place);

/** The answer for a model of which nothing but config.json is there. */
async function budget(model: string, ...args: readonly string[]) {
  const alone = at(`${model}-config`);
  await mkdir(alone, { recursive: true });
  await cp(at(model, "config.json"), `${alone}/config.json`);
  return await randlora("budget", alone, ...args);
}

async function budgetJson(model: string, ...args: readonly string[]) {
  const { stdout, stderr, status } = await budget(model, ...args, "--json");
  expect([stderr, status]).toEqual(["", 0]);
  return JSON.parse(stdout);
}

describe("each method trains what finetune says that it trains", () => {
  // Numbers of the trained head, of three classes.
  test.each<[string, string, readonly string[], number]>([
    ["dinov2", "q_proj,v_proj,fc1", [], 3 * (2 * 8 + 1)],
    ["clip", "q_proj,v_proj,visual_projection", [], 0],
    ["clip", "all-linear", ["--head", "linear"], 3 * (16 + 1)],
    ["clip", "q_proj,fc2", ["--task", "contrastive", "--towers", "text"], 0],
  ])("%s, %s %p", async (model, targets, flags, head) => {
    const found = await budgetJson(model, "--params", "900", "--targets", targets, ...flags);
    expect(found.budget).toBe(900);
    for (const [method, { parameters, rank, bases }] of Object.entries<Record<string, number>>(found.methods)) {
      const size = bases === undefined ? ["--rank", String(rank)] : ["--bases", String(bases)];
      const adapter = method === "full" ? [] : ["--targets", targets, ...size];
      const words = ["--method", method, ...adapter, ...flags, "--dry-run", "--json"];
      const { stdout, stderr } = await place.finetune(model, ...words);
      expect(stderr).toBe("");
      expect([method, JSON.parse(stdout).trainable_parameters]).toEqual([method, (parameters ?? NaN) + head]);
    }
  });
});

test("operations are those of a step of 32 images, memory that of what is held", async () => {
  const found = await budgetJson("clip", "--like", "lora:2", "--targets", "q_proj,fc2,visual_projection");
  // Two layers, four patches and a class token of 32 images; the projection sees the latter alone.
  const [tokens, patches, images] = [32 * 5, 32 * 4, 32];
  const layer = 4 * 16 * 16 + 2 * 16 * 24;
  const frozen = 4 * (tokens * 2 * layer + images * 12 * 16) + 2 * patches * 16 * 75;
  const factors = 6 * 2 * (tokens * 2 * (16 + 16 + 16 + 24) + images * (16 + 12));
  expect(found.methods.lora).toMatchObject({ rank: 2, distance: 0, step_flops: frozen + factors });
  const { parameters, memory_bytes: memory } = found.methods.lora;
  // Its weights are in F32: config.json says nothing else. The texts are read once.
  expect(memory).toBe(found.model_bytes + 16 * parameters);
  // Of a head without texts their encoder is not held: 1,140 numbers, and the projection stays.
  const headed = await budgetJson("clip", "--like", "lora:2", "--targets", "q_proj", "--head", "linear");
  const { parameters: few, memory_bytes: less } = headed.methods.lora;
  const text = 20 * 8 + 6 * 8 + 4 * 8 * 8 + 2 * 8 * 12 + 4 * 8 + 12 + 8 + 4 * 8 + 2 * 8;
  expect(less).toBe(headed.model_bytes - 4 * text + 16 * few);
  const shown = await budget("clip", "--like", "lora:2", "--targets", "q_proj", "--task", "contrastive");
  expect(shown.stdout).toContain(
    "a step: of 32 images (160 tokens, texts left out) in one micro-batch, attention left out",
  );
});

test("CLIP with its default sizes, ViT-B/32, has the numbers that were published", async () => {
  await Bun.write(at("b32", "config.json"), JSON.stringify({ model_type: "clip", text_config: {}, vision_config: {} }));
  const found = await budgetJson("b32", "--like", "lora:16", "--targets", "q_proj,v_proj");
  expect(found.model_parameters).toBe(151_277_313);
  // Of the encoder of images alone, which is what a head of texts has adapted.
  expect([found.modules, found.budget]).toEqual([24, 24 * 16 * 2 * 768]);
});

test.each<[string, readonly string[], number, string]>([
  ["dinov2", ["--params", "1K"], 2, 'no default targets are known for model type "dinov2"'],
  ["dinov2", ["--params", "1K", "--targets", "q_prj"], 2, "no linear layer of "],
  ["dinov2", ["--params", "1K", "--targets", "q_proj", "--task", "contrastive"], 2, "no encoder of texts"],
  [
    "clip",
    ["--params", "1K", "--targets", "q_proj", "--towers", "text"],
    2,
    "--towers has no meaning with --task classify",
  ],
])("%s %p is refused", async (model, args, status, message) => {
  const found = await budget(model, ...args);
  expect([found.status, found.stdout]).toEqual([status, ""]);
  expect(found.stderr).toStartWith("error: ");
  expect(found.stderr).toContain(message);
  expect(found.stderr).toContain("hint: ");
});
