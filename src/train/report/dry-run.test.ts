import { describe, expect, test } from "bun:test";
import { createStyle } from "../../terminal/style.ts";
import { RecordingStream } from "../../terminal/testing/terminal.ts";
import { lossesText, parameterTable, sampleText } from "./dry-run.ts";
import type { Split } from "../../data/images/datasets/types.ts";
import { resolveImages } from "../settings/images.ts";
import type { ImageSettings } from "../settings/settings.ts";
import { nextCommand, trainResultJson, trainResultText, wasOver } from "./train-result.ts";

const PLAIN = createStyle(new RecordingStream(), {});
const COLORED = createStyle(new RecordingStream(80), {});

describe("a sample", () => {
  const parts = [
    { text: "<s>user: hi\n", supervised: false, tokens: 4 },
    { text: "yes\nno</s>", supervised: true, tokens: 4 },
  ];

  test("has what is supervised marked: by brackets, or by color, line by line", () => {
    expect(sampleText(parts, PLAIN)).toBe("  <s>user: hi\n  ⟦yes\n  no</s>⟧\n");
    expect(sampleText(parts, COLORED)).toBe(
      `  ${COLORED.dim("<s>user: hi")}\n  ${COLORED.green("yes")}\n  ${COLORED.green("no</s>")}\n`,
    );
  });

  test("cannot drive the terminal", () => {
    const text = "a\u001b[31mb\u0007c\rd\r\ne\u009b2J\u202e";
    expect(sampleText([{ text, supervised: false, tokens: 1 }], PLAIN)).toBe("  a␛[31mb␇c␍d␍\n  e�2J�\n");
  });

  test("that is long loses its middle", () => {
    const long = [
      { text: "a".repeat(1000), supervised: false, tokens: 1 },
      { text: "b".repeat(1000), supervised: true, tokens: 1 },
    ];
    const shown = sampleText(long, PLAIN);
    expect(shown).toBe(`  ${"a".repeat(600)} … 800 characters … ⟦${"b".repeat(600)}⟧\n`);
  });
});

test("modules that have no numbers of their own share those of all", () => {
  const modules = [0, 1].map((layer) => ({ name: `layers.${layer}.q_proj`, shape: [8, 4], parameters: 0 }));
  expect(parameterTable({ modules, trainableParameters: 256, notes: [] }, 80, (text) => text)).toBe(
    "trained          modules  shape of W    each  parameters\n" +
      "layers.*.q_proj        2       8 × 4  shared\n" +
      "all                    2                             256\n",
  );
});

test("the table of parameters has a row for modules that differ in their layer alone", () => {
  const module = (layer: number, name: string, out: number) => ({
    name: `model.layers.${layer}.${name}`,
    shape: [out, 576],
    parameters: out === 576 ? 1000 : 500,
  });
  const modules = [0, 1, 2].flatMap((layer) => [module(layer, "q_proj", 576), module(layer, "v_proj", 192)]);
  expect(parameterTable({ modules, trainableParameters: 4500, notes: [] }, 80, (text) => text)).toBe(
    "trained                modules  shape of W   each  parameters\n" +
      "model.layers.*.q_proj        3   576 × 576  1,000       3,000\n" +
      "model.layers.*.v_proj        3   192 × 576    500       1,500\n" +
      "all                          6                          4,500\n",
  );
});

test("what was cut and dropped is told for each file, where there was any", () => {
  const totals = {
    samples: 8,
    tokens: 1,
    supervisedTokens: 1,
    longest: 1,
    cut: 0,
    dropped: 0,
    unknownRoles: [] as string[],
  };
  const data = (read: { path: string; totals: typeof totals }[]) => {
    const none = { path: "", totals, format: "text" as const, length: 0, lengthOf: () => 0, supervisedOf: () => 0 };
    const train = {
      ...none,
      sample: () => ({ ids: new Uint32Array(), supervised: new Uint8Array(), line: 1, format: "text" as const }),
    };
    return { train, valid: undefined, read };
  };
  expect(lossesText(data([{ path: "a.jsonl", totals }]))).toBe("");
  expect(lossesText(data([{ path: "a.jsonl", totals: { ...totals, cut: 3, dropped: 2 } }]))).toBe(
    "a.jsonl: 3 of 10 samples were cut to the maximum length; 2 of 10 had no supervised tokens and were left out\n",
  );
  expect(lossesText(data([{ path: "a.jsonl", totals: { ...totals, unknownRoles: ["human", "gpt"] } }]))).toContain(
    'a.jsonl: messages of the role "human", "gpt" are not trained on',
  );
});

describe("a result", () => {
  const result = {
    run: "runs/a",
    ending: "early-stop",
    steps: 120,
    stepsBefore: 50,
    loss: 1.5,
    validLoss: 1.75,
    bestStep: 100,
    trainableParameters: 12_345,
    tokens: 25_000,
    unit: "tokens",
    estimatedGpuBytes: 1e9,
    peakGpuBytes: 9.5e8,
    peakRssBytes: 1.25e9,
    seconds: 125,
    profile: [],
  } as const;

  test("names the run, its losses and what to type next", () => {
    const shown = {
      plot: "PLOT\n",
      figure: "runs/a/loss.svg",
      next: nextCommand(result, { data: "data", images: null }),
    };
    expect(trainResultText(result, shown, 100, PLAIN)).toBe(
      "PLOT\n\n" +
        "written          runs/a\n" +
        "steps            120 (stopped early: the validation loss no longer fell)\n" +
        "loss             1.5000 in the last step\n" +
        "validation loss  1.7500 at the end; lowest at step 100\n" +
        "parameters       12.3 K trained, on 25.0 K supervised tokens\n" +
        "time             2:05 from step 50 on\n" +
        "device memory    950 MB at most (1.00 GB expected)\n" +
        "process memory   1.25 GB at most\n" +
        "plot             runs/a/loss.svg\n" +
        "\nnext: randlora chat runs/a\n",
    );
    expect(trainResultText({ ...result, ending: "interrupted" }, shown, 100, PLAIN)).toContain(
      "steps            120 (interrupted; saved)\n" +
        "loss             1.5000 in the last step\n" +
        "validation loss  1.7500 when last measured; lowest at step 100\n",
    );
    expect(trainResultText({ ...result, stepsBefore: 0 }, shown, 100, PLAIN)).toContain("time             2:05\n");
    expect(nextCommand({ ...result, run: "my runs/it's" }, { data: "data", images: null })).toBe(
      String.raw`randlora chat 'my runs/it'\''s'`,
    );
    expect(nextCommand({ ...result, ending: "interrupted" }, { data: "data", images: null })).toBe(
      "randlora finetune --resume runs/a",
    );
    const asked = { texts: true, learningRate: 1, gradAccum: 1 };
    const next = (images: Partial<ImageSettings>, ...split: [Split?]) =>
      nextCommand({ ...result, unit: "images" }, { data: "my set", images: resolveImages(images, asked) }, ...split);
    expect(next({})).toBe("randlora eval images runs/a --data 'my set'");
    expect(next({ dataset: "MNIST", templates: "openai" }, "valid")).toBe(
      "randlora eval images runs/a --data 'my set' --dataset MNIST --split valid --templates openai",
    );
  });

  test("of a run that had ended before says so", () => {
    const over = { ...result, ending: "finished", stepsBefore: 120 } as const;
    const shown = { plot: "", figure: undefined, next: nextCommand(over, { data: "data", images: null }) };
    expect(wasOver(over)).toBe(true);
    expect(trainResultText(over, shown, 100, PLAIN)).toContain(
      "steps            120 (had ended before: nothing was left to do)\n",
    );
    expect([result, { ...over, stepsBefore: 0 }, { ...over, ending: "interrupted" as const }].some(wasOver)).toBe(
      false,
    );
  });

  test("as JSON has every key, null for what there was not", () => {
    expect(trainResultJson({ ...result, loss: undefined, validLoss: undefined, bestStep: undefined })).toEqual({
      run: "runs/a",
      ending: "early-stop",
      steps: 120,
      loss: null,
      valid_loss: null,
      best_step: null,
      trainable_parameters: 12_345,
      tokens: 25_000,
      estimated_gpu_bytes: 1e9,
      peak_gpu_bytes: 9.5e8,
      peak_rss_bytes: 1.25e9,
      seconds: 125,
    });
  });
});
