import { openDevice } from "../../../compute/open-device.ts";
import { Contradiction, RandloraError } from "../../../files/errors.ts";
import { isOfImages } from "../../../models/vision/index.ts";
import { beginFigure } from "../../../terminal/charts/svg-chart.ts";
import { ALONE, firstThenOthers, gatherNumbers, type Processes } from "../../../mpi/processes.ts";
import type { Context } from "../../../terminal/options/command.ts";
import { refuseOtherDevice, shared } from "../../../terminal/options/shared-work.ts";
import { showProfiled } from "../../../terminal/profile.ts";
import type { Progress } from "../../../terminal/progress.ts";
import { chooseHead } from "../../images/model-options.ts";
import { dataIn, weightsIn } from "../../inputs.ts";
import { adapterOrModel } from "../../../adapters/formats/open.ts";
import { openPlan } from "../plan-variants.ts";
import { type PlaneFlags, refuseForeign } from "../options.ts";
import { lossesOfImages, lossesOfTexts } from "./losses.ts";
import { PlaneFile, rowsOf } from "./plane-file.ts";
import { CORNERS, placesOf, sharesAt } from "./plane.ts";
import { planeJson, type PlaneReport, planeText } from "./report.ts";
import { planeSvg } from "./svg.ts";
import { existsSync } from "node:fs";
import { resolve } from "node:path";

/** Measures the loss in a plane of weights. @throws RandloraError `usage` for flags that contradict each other; as `openPlan` */
export async function analyzePlane(model: string, options: PlaneFlags, context: Context): Promise<void> {
  await shared(context, { MODEL: model, ...options }, (processes, own) => analyzeShare(model, options, own, processes));
}

/** The same, in each of the processes that share it; the first one writes the files. */
async function analyzeShare(model: string, options: PlaneFlags, context: Context, processes: Processes): Promise<void> {
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
  await using resources = new AsyncDisposableStack();
  const isFirst = processes.rank === 0;
  const paths: string[] = [];
  const plan = await firstThenOthers(processes, async () => {
    for (const name of at) paths.push(await adapterOrModel(name, "model", context));
    return await openPlan(model, paths, options.generator, context);
  });
  const { location } = plan;
  const templates = existsSync(options.templates ?? "") ? [options.templates ?? ""] : [];
  const inputs = [
    ...templates,
    location.weights ?? location.folder,
    ...weightsIn(paths),
    ...(await dataIn(data, dataset)),
  ];
  const figure = svg === undefined || !isFirst ? undefined : resources.use(await beginFigure(svg, force, inputs));
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
  await using file =
    out === undefined || !isFirst ? undefined : await PlaneFile.open(out, request, { resume, force, inputs });
  const known = file?.losses.length ?? 0;
  if (known > 0) context.log.info(`${known} of ${grid * grid} points are in ${file?.path} already`);
  const gpu = resources.use(await openDevice(device));
  await refuseOtherDevice(processes, gpu);
  using bar: Progress = context.progress({
    title: "measuring",
    items: Math.ceil((grid * grid - known + CORNERS.length) / processes.size) * items,
    unit,
  });
  const plane = await begin(gpu, resources, [first, second, third]);
  const onItems = (count: number) => bar.add({ items: count });
  const lossAt = (x: number, y: number) => plane.loss(sharesAt(x, y), { signal, onItems });
  const onRow = (row: number) => bar.label(`row ${row + 1} of ${grid}`);
  const { corners, loss } = await measurePlane(lossAt, { x, y }, file, onRow, processes);
  bar.close();
  const report = { at: [a, b, c] as const, x, y, loss, corners, samples, tokens };
  await figure?.write(planeSvg(report));
  await showProfiled(gpu, context, planeJson(report), () => planeText(report, context));
}

/**
 * The losses of the corners, and of every point row by row; NaN where one overflowed.
 * @param lossAt the loss at a place
 * @param file where points are kept; those that it has are not measured again
 * @param onRow told the number of each row before it, from 0
 * @param processes that share the points; the first one has the file
 * @throws what `lossAt` and `file` throw; the file then has what was measured
 */
export async function measurePlane(
  lossAt: (x: number, y: number) => Promise<number>,
  { x, y }: Pick<PlaneReport, "x" | "y">,
  file: PlaneFile | undefined,
  onRow: (row: number) => void,
  processes: Processes = ALONE,
): Promise<Pick<PlaneReport, "loss" | "corners">> {
  const { rank, size } = processes;
  /** Each process measures one of so many places. */
  const measure = async (places: readonly (readonly [number, number])[]) => {
    const own = places[rank];
    const loss = own === undefined ? [] : [await lossAt(...own)];
    return (await gatherNumbers(processes, loss)).map((one) => (Number.isFinite(one) ? one : NaN));
  };
  const ofCorners: number[] = [];
  for (let at = 0; at < CORNERS.length; at += size) ofCorners.push(...(await measure(CORNERS.slice(at, at + size))));
  const [a = NaN, b = NaN, c = NaN] = ofCorners;
  const corners = [a, b, c] as const;
  file?.setCorners(corners);
  const losses = await gatherNumbers(processes, file?.losses ?? []);
  const places = y.flatMap((placeY) => x.map((placeX) => [placeX, placeY] as const));
  let shown = -1;
  try {
    while (losses.length < places.length) {
      const row = Math.floor(losses.length / x.length);
      if (row !== shown) onRow(row);
      shown = row;
      for (const loss of await measure(places.slice(losses.length, losses.length + size))) {
        losses.push(loss);
        await file?.add(loss);
      }
    }
  } finally {
    // Whatever ended it: --resume goes on from here.
    await file?.save();
  }
  await file?.finish();
  return { corners, loss: rowsOf(losses, x.length) };
}
