/*
 * `bun bench/peers/images.ts [--images 32] [--rank 16] [--steps 3]`: a CLIP of ViT-B/32's shape with random weights embeds
 * images, and takes training steps of RandLoRA and a linear head: transformers and PEFT, and we, in turn on the same cores.
 * Images are pixels already: decoding and resizing are not part of it.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import * as v from "valibot";
import { pythonWithPeft } from "../../interop/environment.ts";
import type { Device } from "../../src/compute/device/device.ts";
import { LoadedImageModel } from "../../src/measure/images/model.ts";
import { grey } from "../../src/train/images/batch.ts";
import { formatDuration, formatNumber } from "../../src/terminal/format.ts";
import { formatTable } from "../../src/terminal/table.ts";
import { spareBytes } from "../../src/train/loop/choose-options.ts";
import { Engine } from "../../src/train/loop/engine.ts";
import { type PlacedLoadedImageModel, ImageSource } from "../../src/train/images/source.ts";
import { resolveSettings } from "../../src/train/settings/resolve-settings.ts";
import { openBenchDevice } from "../device.ts";
import { machine, renderMachine } from "../harness.ts";
import { inRounds, ratios, timed } from "../training/rounds.ts";
import { measure } from "./measure.ts";
import { PeerProcess } from "./worker.ts";

/** PEFT computes with as many threads as the machine of our targets has cores. */
const THREADS = 2;
const SIZE = [224, 224] as const;
const CLASSES = Array.from({ length: 10 }, (_, index) => `class ${index}`);
/** Most of transformers' and of PEFT's time: at least 0.35 of the images a second, and 2.5 times the time of a step. */
const MOST = { embed: 1 / 0.35, train: 2.5 } as const;

const Ready = v.object({ ready: v.number() });
const Taken = v.object({ seconds: v.number(), coreSeconds: v.number() });

const { values } = parseArgs({
  options: {
    images: { type: "string", default: "32" },
    rank: { type: "string", default: "16" },
    steps: { type: "string", default: "3" },
  },
});
const [count, rank, steps] = [Number(values.images), Number(values.rank), Number(values.steps)];
const batch = grey({ tokens: count, targets: count }, SIZE, CLASSES.length);
for (let at = 0; at < batch.images.pixels.length; at++) batch.images.pixels[at] = Math.sin(at);

process.stdout.write(renderMachine(await machine()));
const offline = { HF_HUB_OFFLINE: "1", HF_HUB_DISABLE_PROGRESS_BARS: "1", PYTHONDONTWRITEBYTECODE: "1" };
const python = [await pythonWithPeft(), join(import.meta.dir, "peft_images.py")];
const folder = await mkdtemp(join(tmpdir(), "randlora-images-"));
try {
  await measure([...python, "make", folder], offline);
  await compare();
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function compare(): Promise<void> {
  await using peer = new PeerProcess([...python, "run", folder, String(count), String(rank), String(THREADS)], offline);
  const { ready } = await peer.hello(Ready);
  using gpu = await openBenchDevice();
  using embedder = await LoadedImageModel.open(
    gpu,
    { folder, weights: undefined },
    { adapters: [], withoutText: true },
  );
  await using source = await openSource();
  using model = await placed(gpu, source);
  if (model.summary.trainableParameters !== ready) {
    throw new Error(`PEFT trains ${ready} numbers and we ${model.summary.trainableParameters}: no contest`);
  }
  const { betas, eps, weightDecay, gradClip } = source.settings;
  const optimizer = { betas, eps, weightDecay, gradClip };
  using engine = new Engine(gpu, model, { optimizer, checkpointing: false, staging: gpu.staging });
  await engine.begin();
  let index = 0;
  const ours = {
    embed: async () => void (await embedder.rows((run) => embedder.model.recordImages(run, batch.images))),
    train: async () => {
      const step = {
        index: index++,
        epoch: 0,
        shards: [{ first: 0, microBatches: [batch] }],
        targets: count,
        tokens: count,
      };
      await (
        await engine.step(step, 1e-3)
      ).outcome;
      await gpu.idle();
    },
  };
  const works = ["embed", "train"] as const;
  const contenders = new Map(
    works.flatMap((work) => [
      [`peer ${work}`, async () => await peer.ask(work, Taken)] as const,
      [`our ${work}`, async () => await timed(ours[work])] as const,
    ]),
  );
  const times = await inRounds(contenders, steps, (line) => process.stderr.write(`${line}\n`));
  const rows = works.flatMap((work) => {
    const [theirs, own] = [times.get(`peer ${work}`), times.get(`our ${work}`)];
    if (theirs === undefined || own === undefined) return [];
    const { seconds, coreSeconds } = ratios(own, theirs);
    const most = MOST[work];
    return [
      [
        work,
        formatDuration(theirs.median.seconds),
        formatNumber(count / theirs.median.seconds, 1),
        formatDuration(own.median.seconds),
        formatNumber(count / own.median.seconds, 1),
        formatNumber(seconds, 2),
        formatNumber(coreSeconds, 2),
        `≤ ${formatNumber(most, 2)}: ${seconds <= most ? "met" : "missed"}`,
      ],
    ];
  });
  const title = `ViT-B/32, ${count} images, median of ${steps}`;
  const head = [title, "peer", "images/s", "ours", "images/s", "ratio", "by core time", "target"];
  process.stdout.write(`\n${formatTable(rows, { head, align: "lrrrrrrl" })}`);
}

async function openSource(): Promise<ImageSource> {
  const asked = { model: folder, data: "made-up", method: "randlora", rank, targets: ["q_proj", "k_proj", "v_proj"] };
  const settings = resolveSettings(asked, { modelType: "clip", contextLength: 1 });
  const work = { task: { kind: "classify", head: "linear", classes: CLASSES } } as const;
  return await ImageSource.open(settings, { folder, weights: undefined }, work);
}

async function placed(gpu: Device, source: ImageSource): Promise<PlacedLoadedImageModel> {
  const tokens = source.rowsOf({ tokens: count, targets: count });
  const place = { staging: gpu.staging, tokens, microBatches: 1, budget: spareBytes(gpu), choices: undefined };
  const model = await source.place(gpu, place);
  await model.fill();
  return model;
}
