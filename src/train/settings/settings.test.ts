import { expect, test } from "bun:test";
import { dateOf } from "../../data/text/samples/date.ts";
import { type AskedSettings, type ModelFacts, resolveSettings } from "./resolve-settings.ts";
import { resumeSettings } from "./resume-settings.ts";
import { formatSettings, parseTrainSettings } from "./settings.ts";

const FACTS = { modelType: "llama", contextLength: 8192 };
const ASKED: AskedSettings = { model: "m", data: "d" };

test("the defaults that the interface names", () => {
  const settings = resolveSettings(ASKED, FACTS);
  expect(settings).toMatchObject({ method: "randlora", steps: null, epochs: 1, maxLength: 1024, learningRate: 1e-4 });
  expect(settings.adapter).toMatchObject({
    rank: 32,
    alpha: 640,
    targets: ["q_proj", "v_proj"],
    generator: "torch-mt19937-bf16-v2",
  });
  const sparse = resolveSettings({ ...ASKED, sparsity: "sparse", rank: 4 }, { ...FACTS, contextLength: 128 });
  expect(sparse.adapter).toMatchObject({ alpha: 80, generator: "torch-mt19937-ternary" });
  expect(sparse.maxLength).toBe(128);
  expect(resolveSettings({ ...ASKED, prompt: "commonsense" }, FACTS)).toMatchObject({ maxLength: 256 });
  expect(resolveSettings({ ...ASKED, method: "lora" }, FACTS).adapter).toMatchObject({ rank: 8, alpha: 16 });
  expect(resolveSettings({ ...ASKED, method: "delora", rank: 4 }, FACTS).adapter).toMatchObject({ alpha: 15 });
  expect(resolveSettings({ ...ASKED, method: "full" }, FACTS).adapter).toBeNull();
});

test("what run.json holds is what was resolved, key by key", () => {
  for (const method of ["randlora", "full"] as const) {
    const settings = resolveSettings({ ...ASKED, method, betas: [0.8, 0.95], steps: 7 }, FACTS);
    const written = JSON.parse(JSON.stringify(formatSettings(settings)));
    expect(Object.keys(written)).toContain("learning_rate");
    expect(parseTrainSettings(written, "run.json")).toEqual(settings);
  }
  const written = formatSettings(resolveSettings(ASKED, FACTS));
  expect(() => parseTrainSettings({ ...written, learning_rate: "fast" }, "run.json")).toThrow(
    'run.json: "learning_rate"',
  );
  expect(() => parseTrainSettings({ ...written, more: 1 }, "run.json")).toThrow('"more"');
  expect(() => parseTrainSettings({ ...written, adapter: { rank: 1 } }, "run.json")).toThrow('"adapter.');
});

test("run.json has the settings of the run's own method; those of others, which earlier versions wrote, are passed over", () => {
  const common = ["rank", "alpha", "dropout", "targets", "layers", "init_adapter", "init_commit", "init_sha256"];
  const own = {
    randlora: ["variant", "sparsity", "basis_seed", "generator", "projections", "compute", "dora", "gamma_rate"],
    lora: ["rslora"],
  };
  for (const method of ["randlora", "lora"] as const) {
    const settings = resolveSettings({ ...ASKED, method }, FACTS);
    const written = formatSettings(settings);
    expect(Object.keys(written["adapter"] ?? {}).toSorted()).toEqual([...common, ...own[method]].toSorted());
    const foreign = method === "lora" ? { sparsity: "sparse", basis_seed: "0" } : { rslora: false };
    const earlier = { ...written, adapter: { ...settings.adapter, ...foreign } };
    expect(parseTrainSettings(earlier, "run.json")).toEqual(settings);
    expect(() => parseTrainSettings({ ...earlier, adapter: { ...settings.adapter, odd: 1 } }, "run.json")).toThrow(
      '"adapter.odd"',
    );
  }
});

test.each<[Partial<AskedSettings>, string]>([
  [{ generator: "torch-mt19937-ternary" }, "--generator torch-mt19937-ternary does not draw dense bases"],
  [{ method: "full", rank: 3 }, "--rank has no meaning with --method full"],
  [{ method: "lora", sparsity: "sparse" }, "--sparse has no meaning with --method lora"],
  [{ rslora: true }, "--rslora has no meaning with --method randlora"],
  [{ steps: 3, epochs: 2 }, "--steps and --epochs"],
  [{ dropout: 0.1, gradAccum: 65_537 }, "--grad-accum 65537: with dropout a step has at most 65536 micro-batches"],
  [{ valid: "v", validSplit: 0.1 }, "--valid and --valid-split"],
])("%j is refused", (asked, message) => {
  expect(() => resolveSettings({ ...ASKED, ...asked }, FACTS)).toThrow(message);
});

test("unknown architectures need --targets; an adapter to go on from brings its own settings", () => {
  expect(() => resolveSettings(ASKED, { ...FACTS, modelType: "new" })).toThrow("no default targets");
  const init = { rank: 6, alpha: 12, targets: ["k_proj"] };
  const asked = { ...ASKED, initAdapter: "a" };
  expect(resolveSettings({ ...asked, rank: 6 }, { ...FACTS, modelType: "new", init }).adapter).toMatchObject(init);
  const two = { ...init, targets: ["q_proj", "k_proj"] };
  expect(resolveSettings({ ...asked, targets: ["k_proj", "q_proj"] }, { ...FACTS, init: two }).adapter?.rank).toBe(6);
  expect(() => resolveSettings({ ...asked, rank: 7 }, { ...FACTS, init })).toThrow("--rank 7");
  const upside = { ...init, layers: [20, 3, 0] };
  expect(resolveSettings({ ...asked, layers: [0, 3, 20] }, { ...FACTS, init: upside }).adapter?.layers).toEqual([
    20, 3, 0,
  ]);
  expect(() => resolveSettings({ ...asked, layers: [0, 20] }, { ...FACTS, init: upside })).toThrow("--layers 0,20");
});

function adapterOf(targets: string[]) {
  return resolveSettings({ ...ASKED, targets }, FACTS).adapter;
}

test("a resumed run keeps its settings but for those that may change", () => {
  const recorded = resolveSettings({ ...ASKED, steps: 10, targets: ["q_proj"] }, FACTS);
  expect(resumeSettings(recorded, { rank: 32, targets: ["q_proj"], saveEvery: 7, keep: 2, evalEvery: 3 })).toEqual({
    ...recorded,
    saveEvery: 7,
    keep: 2,
    evalEvery: 3,
  });
  for (const [asked, flag] of [
    [{ rank: 8 }, "--rank 8"],
    [{ learningRate: 1 }, "--learning-rate 1"],
    [{ steps: 20 }, "--steps 20"],
    [{ shuffle: false }, "--no-shuffle"],
    [{ model: "other" }, "MODEL other"],
    [{ valid: "v" }, "--valid v"],
    [{ betas: [0.999, 0.9] as [number, number] }, "--betas 0.999,0.9"],
  ] as const) {
    expect(() => resumeSettings(recorded, asked)).toThrow(flag);
  }
  expect(resumeSettings({ ...recorded, adapter: adapterOf(["b", "a"]) }, { targets: ["a", "b"] }).steps).toBe(10);
  expect(resumeSettings(recorded, { checkpointActivations: true })).toEqual({
    ...recorded,
    checkpointActivations: true,
  });
  const constant = { ...recorded, schedule: "constant" as const };
  const epochs = { ...constant, steps: null, epochs: 2 };
  expect(resumeSettings(epochs, { steps: 20 })).toMatchObject({ steps: 20, epochs: null });
  expect(resumeSettings(epochs, {})).toEqual(epochs);
  expect(() => resumeSettings({ ...epochs, schedule: "linear" }, { steps: 20 })).toThrow("--steps 20");
  expect(resumeSettings(constant, { steps: 20 }).steps).toBe(20);
  expect(() => resumeSettings(constant, { steps: 9 })).toThrow("--steps 9");
});

test("runs on images have defaults of their own, and settings that runs on texts have not", () => {
  const facts = { modelType: "clip", images: { texts: true } };
  const asked = { ...ASKED, targets: ["q_proj"] };
  const settings = resolveSettings(asked, facts);
  expect(settings).toMatchObject({ batchSize: 32, schedule: "cosine", learningRate: 1e-3, maxLength: null });
  expect(settings.images).toMatchObject({
    task: "classify",
    head: "zero-shot",
    templates: "simple",
    augment: "none",
  });
  expect(parseTrainSettings(JSON.parse(JSON.stringify(formatSettings(settings))), "run.json")).toEqual(settings);
  // A method's own rate stays where it is larger.
  const rates = ["lora", "vera", "nola", "pranc", "full"].map((method) => {
    return resolveSettings(method === "full" ? { ...ASKED, method } : { ...asked, method }, facts).learningRate;
  });
  expect(rates).toEqual([1e-3, 1e-2, 1e-3, 3e-2, 1e-3]);
  // All weights of CLIP's size are moved a hundredth as far, a new head is not; nor do billions bear what millions do.
  const sized = (out: number, of: ModelFacts) => ({ ...of, shapes: () => [{ out, in: 1e3 }] });
  const large = resolveSettings(
    { ...ASKED, method: "full" },
    sized(9e4, { modelType: "dinov2", images: { texts: false } }),
  );
  expect(large).toMatchObject({ learningRate: 1e-5, images: { headLearningRate: 1e-3 } });
  const texts = [9e5, 1e6].map((out) => resolveSettings({ ...ASKED, method: "full" }, sized(out, FACTS)));
  expect(texts.map(({ learningRate }) => learningRate)).toEqual([1e-4, 2e-5]);
  const alone = resolveSettings({ ...asked, learningRate: 2e-3 }, { modelType: "dinov2", images: { texts: false } });
  expect(alone.images).toMatchObject({ head: "linear", headLearningRate: 2e-3, templates: null });
  // The encoder of images is what is adapted anyhow.
  expect(resolveSettings({ ...asked, towers: "vision" }, facts).images).toEqual({
    ...settings.images,
    towers: "vision",
  } as never);
  expect(() => resolveSettings({ ...asked, towers: "text" }, facts)).toThrow("--towers has no meaning");
  // Earlier versions knew no --new-head.
  const written = JSON.stringify(formatSettings(settings));
  expect(written).toContain('"new_head":false,');
  expect(parseTrainSettings(JSON.parse(written.replace('"new_head":false,', "")), "run.json")).toEqual(settings);
  const further = resumeSettings(settings, { skipBadImages: true });
  expect(further.images).toEqual({ ...settings.images, skipBadImages: true } as never);
  expect(() => resumeSettings(settings, { augment: "crop-flip" })).toThrow(
    "--augment crop-flip: the run cannot be resumed",
  );
  expect(() => resumeSettings(resolveSettings(ASKED, FACTS), { skipBadImages: true })).toThrow("--skip-bad-images");
  // What earlier versions wrote was about texts.
  const { images: _, ...earlier } = formatSettings(resolveSettings(ASKED, FACTS));
  expect(parseTrainSettings(earlier, "run.json").images).toBe(null);
});

test("what contradicts is said as it was typed", () => {
  const recorded = resolveSettings({ ...ASKED, steps: 10 }, FACTS);
  const init = { method: "lora", rslora: false, layers: [], targets: [..."qkvoabcde"] } satisfies ModelFacts["init"];
  for (const [contradict, message] of [
    [
      () => resumeSettings(recorded, { sparsity: "very-sparse" }),
      "--very-sparse: the run cannot be resumed with another value; it had dense bases",
    ],
    [
      () => resumeSettings(recorded, { shuffle: false }),
      "--no-shuffle: the run cannot be resumed with another value; it had --shuffle",
    ],
    [
      () => resumeSettings(recorded, { projections: false }),
      "--projections no: the run cannot be resumed with another value; it had yes",
    ],
    [
      () => resolveSettings({ ...ASKED, rslora: true }, { ...FACTS, init }),
      "--rslora: the adapter of --init-adapter has none",
    ],
    [
      () => resolveSettings({ ...ASKED, layers: [1, 2] }, { ...FACTS, init }),
      "--layers 1,2: the adapter of --init-adapter has all",
    ],
    [
      () => resolveSettings({ ...ASKED, targets: ["q"] }, { ...FACTS, init }),
      "--targets q: the adapter of --init-adapter has q,k,v,o,a,b and 3 more",
    ],
    [
      () => resolveSettings({ ...ASKED, method: "lora", sparsity: "sparse" }, FACTS),
      "--sparse has no meaning with --method lora",
    ],
    // Eight processes of mpirun have a shard each, whatever was typed.
    [
      () => resolveSettings({ ...ASKED, shards: 8 }, FACTS),
      "a step of 4 samples (--batch-size times --grad-accum) cannot be cut into 8 shards",
    ],
  ] as const) {
    expect(contradict).toThrow(message);
  }
});

test("the date that templates are told is the same on any day, in any zone, unless another is given", () => {
  expect(resolveSettings(ASKED, FACTS).date).toBe("2024-07-26");
  expect(dateOf("2024-07-26").getDate()).toBe(26);
  expect(dateOf("2026-11-30T23:59:59").getDate()).toBe(30);
  for (const wrong of ["today", "2024-02-30", "2024-7-1", "2024-07-26T12", ""]) {
    expect(() => dateOf(wrong)).toThrow(`--date ${wrong}: not a day`);
  }
});
