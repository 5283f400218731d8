import { RandloraError } from "../src/errors.ts";
import { defineCommand, integer, numbers, repeat, required, text } from "../src/options/command.ts";
import { profileJson, profileText } from "../src/report/profile.ts";
import type { Progress } from "../src/terminal/progress.ts";
import { adapterOrModel } from "./adapter-or-model.ts";
import { GENERATOR_OPTION, PICTURE_OPTIONS, SAMPLE_OPTIONS } from "./analyze-options.ts";
import { openPlan } from "./analyze-plan.ts";
import { beginPicture } from "./begin-picture.ts";

/** Points along each axis: passes over all samples are their square. */
const MOST_POINTS = 1000;

/** `randlora analyze plane`. */
export const planeCommand = defineCommand({
  name: "plane",
  summary: "Show the loss in the plane of weights through three fine-tuned models",
  example: "randlora analyze plane embedded --at runs/randlora --at runs/full --at runs/lora --data valid.jsonl",
  arguments: {
    model: required("MODEL", "the base: a folder, an index.json, one .safetensors file, or org/name on the Hub"),
  },
  options: {
    at: repeat(
      text({
        value: "A",
        topic: "Adapters",
        help: "a corner, three times: at (0, 0), (0.5, 1) and (1, 0); an adapter, a run, or a full model",
      }),
    ),
    generator: GENERATOR_OPTION,
    ...SAMPLE_OPTIONS,
    samples: integer({ topic: "Data", help: "take so many samples, the first ones", min: 1, defaultText: "all" }),
    grid: integer({ topic: "Plane", help: "points along each axis", min: 1, max: MOST_POINTS, default: 25 }),
    range: numbers({
      value: "X0,X1,Y0,Y1",
      topic: "Plane",
      help: "from X0 to X1 and from Y0 to Y1, the ends left out",
      length: 4,
      default: [-1, 1.5, -0.5, 2],
    }),
    ...PICTURE_OPTIONS,
  },
  async run({ model }, options, context) {
    const { at, data, maxLength, samples: most, grid, range, svg } = options;
    const [a, b, c] = at;
    if (a === undefined || b === undefined || c === undefined || at.length > 3) {
      const cause = `--at is given ${at.length === 1 ? "once" : `${at.length} times`}`;
      throw new RandloraError("usage", cause, "a plane goes through three corners: give it three times");
    }
    if (data === undefined) throw new RandloraError("usage", "--data is missing", "name the file with samples");
    const [x0 = 0, x1 = 0, y0 = 0, y1 = 0] = range;
    if (!(x0 < x1 && y0 < y1)) {
      throw new RandloraError("usage", `--range ${range.join(",")}: an end is not above its beginning`);
    }
    const { CORNERS, LossPlane, needsAllInF32, placesOf, sharesAt } = await import("../src/analysis/loss-plane.ts");
    const { readSamples } = await import("../src/analysis/samples.ts");
    const { Variants } = await import("../src/analysis/variants.ts");
    const { planeJson, planeText } = await import("../src/report/plane.ts");
    const { openDevice } = await import("../src/open-device.ts");
    await using resources = new AsyncDisposableStack();
    const picture = svg === undefined ? undefined : resources.use(await beginPicture(svg, options.force));
    const paths: string[] = [];
    for (const name of at) paths.push(await adapterOrModel(name, "model", context));
    const plan = await openPlan(model, paths, options.generator, context);
    const { signal, device } = context;
    const set = await readSamples(plan.location.folder, data, { most, maxLength, signal });
    const [first, second, third] = plan.variants;
    if (first === undefined || second === undefined || third === undefined) throw new RangeError("no three corners");
    const gpu = resources.use(await openDevice(device));
    const points = grid * grid + CORNERS.length;
    using bar: Progress = context.progress({
      title: "measuring",
      items: points * set.totals.tokens,
      unit: "tokens",
    });
    const variants = resources.use(
      await Variants.load(gpu, plan, {
        allInF32: needsAllInF32(plan),
        signal,
        onNote: (note) => context.log.warn(note),
      }),
    );
    using plane = await LossPlane.load(variants, plan, [first, second, third], set);
    const lossAt = (x: number, y: number) =>
      plane.loss(sharesAt(x, y), { signal, onTokens: (items) => bar.add({ items }) });
    const corners: [number, number, number] = [
      await lossAt(...CORNERS[0]),
      await lossAt(...CORNERS[1]),
      await lossAt(...CORNERS[2]),
    ];
    const [x, y] = [placesOf([x0, x1], grid), placesOf([y0, y1], grid)];
    const loss: number[][] = [];
    for (const [row, placeY] of y.entries()) {
      bar.label(`row ${row + 1} of ${grid}`);
      const losses: number[] = [];
      for (const placeX of x) losses.push(await lossAt(placeX, placeY));
      loss.push(losses);
    }
    bar.close();
    const { samples, supervisedTokens: tokens } = set.totals;
    const report = { at: [a, b, c] as const, x, y, loss, corners, samples, tokens };
    if (picture !== undefined) {
      const { planeSvg } = await import("../src/report/plane-svg.ts");
      await picture.write(planeSvg(report));
    }
    const times = (await gpu.profiler?.report()) ?? [];
    context.result({ ...planeJson(report), ...profileJson(times) }, () => {
      return planeText(report, context) + profileText(times, context.columns);
    });
  },
});
