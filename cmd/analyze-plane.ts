import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { Contradiction, RandloraError } from "../src/files/errors.ts";
import { defineCommand, flag, integer, numbers, repeat, required, text } from "../src/terminal/options/command.ts";
import { profileJson, profileText } from "../src/terminal/profile.ts";
import type { Progress } from "../src/terminal/progress.ts";
import { adapterOrModel } from "../src/measure/analyze/adapter-or-model.ts";
import { lossesOfImages, lossesOfTexts } from "../src/measure/analyze/plane/losses.ts";
import { GENERATOR_OPTION, IMAGE_OPTIONS, refuseForeign, SAMPLE_OPTIONS } from "../src/measure/analyze/options.ts";
import { openPlan } from "../src/measure/analyze/open-plan.ts";
import { beginFigure } from "../src/terminal/charts/begin-figure.ts";
import { dataIn, weightsIn } from "../src/measure/inputs.ts";
import { chooseHead, HEAD_OPTIONS } from "../src/measure/images/head-options.ts";

/** Points along each axis: passes over all samples are their square. */
const MOST_POINTS = 1000;

/** `randlora analyze plane`. */
export const planeCommand = defineCommand({
  name: "plane",
  summary: "Show the loss in the plane of weights through three fine-tuned models",
  example: "randlora analyze plane embedded --at runs/randlora --at runs/full --at runs/lora --data valid.jsonl",
  arguments: {
    model: required(
      "MODEL",
      "the base: a folder, an index.json, one .safetensors or .gguf file, or org/name on the Hub",
    ),
  },
  options: {
    at: repeat(
      text({
        value: "A",
        topic: "Adapters",
        help: "corner of the plane, given three times for (0, 0), (0.5, 1), (1, 0): an adapter, a run, or a full model",
      }),
    ),
    generator: GENERATOR_OPTION,
    ...SAMPLE_OPTIONS,
    samples: integer({
      topic: "Data",
      help: "number of samples: the first ones, of images a random choice",
      min: 1,
      defaultText: "all",
    }),
    ...HEAD_OPTIONS,
    grid: integer({ topic: "Plane", help: "number of points along each axis", min: 1, max: MOST_POINTS, default: 25 }),
    range: numbers({
      value: "X0,X1,Y0,Y1",
      topic: "Plane",
      help: "range of both axes, from X0 to X1 and from Y0 to Y1, without the ends",
      length: 4,
      default: [-1, 1.5, -0.5, 2],
    }),
    out: text({
      short: "o",
      value: "FILE",
      topic: "Output",
      help: "JSON file that each point is written to as it is measured",
    }),
    resume: flag({ topic: "Output", help: "continue from the points in FILE" }),
    svg: IMAGE_OPTIONS.svg,
    force: flag({ topic: "Output", help: "replace an existing figure or FILE" }),
  },
  async run({ model }, options, context) {
    const { at, grid, range, out, resume, svg, force } = options;
    const { data, dataset, split, samples: most, maxLength } = options;
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
    if (out !== undefined && svg !== undefined && resolve(out) === resolve(svg)) {
      throw new Contradiction(["out", "svg"], `--out and --svg are one file: ${svg}`, "give each a file of its own");
    }
    if (out === undefined && resume) throw new RandloraError("usage", "--resume needs --out FILE", "name the file");
    const { measurePlane } = await import("../src/measure/analyze/plane/measure-plane.ts");
    const { PlaneFile } = await import("../src/measure/analyze/plane/plane-file.ts");
    const { CORNERS, placesOf, sharesAt } = await import("../src/measure/analyze/plane/plane.ts");
    const { isOfImages } = await import("../src/models/vision/index.ts");
    const { planeJson, planeText } = await import("../src/measure/analyze/plane/report.ts");
    const { openDevice } = await import("../src/compute/open-device.ts");
    await using resources = new AsyncDisposableStack();
    const paths: string[] = [];
    for (const name of at) paths.push(await adapterOrModel(name, "model", context));
    const plan = await openPlan(model, paths, options.generator, context);
    const { location } = plan;
    const templates = existsSync(options.templates ?? "") ? [options.templates ?? ""] : [];
    const inputs = [
      ...templates,
      location.weights ?? location.folder,
      ...weightsIn(paths),
      ...(await dataIn(data, dataset)),
    ];
    const figure = svg === undefined ? undefined : resources.use(await beginFigure(svg, force, inputs));
    const ofImages = await isOfImages(plan.location.folder);
    refuseForeign(ofImages, {
      texts: { maxLength },
      images: { dataset, split, head: options.head, templates: options.templates },
    });
    const flags = { data, samples: most, maxLength, dataset, split };
    const { samples, tokens, items, unit, begin } = ofImages
      ? await lossesOfImages(plan, flags, await chooseHead(options, dataset), context)
      : await lossesOfTexts(plan, flags, context);
    const [first, second, third] = plan.variants;
    if (first === undefined || second === undefined || third === undefined) throw new RangeError("no three corners");
    const { signal, device } = context;
    const [x, y] = [placesOf([x0, x1], grid), placesOf([y0, y1], grid)];
    const settings = {
      MODEL: model,
      "--at": at,
      "--generator": options.generator ?? null,
      "--data": data,
      "--dataset": dataset ?? null,
      "--split": split ?? null,
      "--samples": most ?? null,
      "--max-length": maxLength ?? null,
      "--head": options.head ?? null,
      "--templates": options.templates ?? null,
      "--grid": grid,
      "--range": range,
    };
    const request = { settings, x, y, samples, tokens };
    const file = out === undefined ? undefined : await PlaneFile.open(out, request, { resume, force, inputs });
    const known = file?.losses.length ?? 0;
    if (known > 0) context.log.info(`${known} of ${grid * grid} points are in ${file?.path} already`);
    const gpu = resources.use(await openDevice(device));
    using bar: Progress = context.progress({
      title: "measuring",
      items: (grid * grid - known + CORNERS.length) * items,
      unit,
    });
    const plane = await begin(gpu, resources, [first, second, third]);
    const onItems = (count: number) => bar.add({ items: count });
    const lossAt = (x: number, y: number) => plane.loss(sharesAt(x, y), { signal, onItems });
    const { corners, loss } = await measurePlane(lossAt, { x, y }, file, (row) => {
      bar.label(`row ${row + 1} of ${grid}`);
    });
    bar.close();
    const report = { at: [a, b, c] as const, x, y, loss, corners, samples, tokens };
    if (figure !== undefined) {
      const { planeSvg } = await import("../src/measure/analyze/plane/svg.ts");
      await figure.write(planeSvg(report));
    }
    const times = (await gpu.profiler?.report()) ?? [];
    context.result({ ...planeJson(report), ...profileJson(times) }, () => {
      return planeText(report, context) + profileText(times, context.columns);
    });
  },
});
