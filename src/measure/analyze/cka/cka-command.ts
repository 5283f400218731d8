import { openDevice } from "../../../compute/open-device.ts";
import { Contradiction, RandloraError } from "../../../files/errors.ts";
import { isOfImages } from "../../../models/vision/index.ts";
import { beginFigure, escape, PALETTE, round, svgChart } from "../../../terminal/charts/svg-chart.ts";
import type { Context } from "../../../terminal/options/command.ts";
import { showProfiled, type ProfileJson } from "../../../terminal/profile.ts";
import type { Progress } from "../../../terminal/progress.ts";
import { dataIn, weightsIn } from "../../inputs.ts";
import { adapterOrModel } from "../../../adapters/formats/open.ts";
import { openPlan } from "../plan-variants.ts";
import { type CkaFlags, refuseForeign } from "../options.ts";
import { compareLayers, samplesUsed, type Estimator, type LayerCka } from "./cka.ts";
import { outputsForImages, outputsForTexts } from "./activations.ts";
import { scaleLinear } from "d3-scale";
import type { Point } from "../../../terminal/charts/axes.ts";
import { visible } from "../../../files/visible.ts";
import { formatNumber } from "../../../terminal/format.ts";
import type { Style } from "../../../terminal/style.ts";
import { formatTable } from "../../../terminal/table.ts";

/** Compares representations with a reference's. @throws RandloraError `usage` for flags that contradict each other; as `openPlan` */
export async function analyzeCka(model: string, options: CkaFlags, context: Context): Promise<void> {
  const { reference, adapter: adapters, estimator, batchSize, svg } = options;
  const { data, dataset, split, samples: most, maxLength } = options;
  if (reference === undefined) throw new RandloraError("usage", "--reference is missing", "name what to compare with");
  if (adapters.length === 0) throw new RandloraError("usage", "--adapter is missing", "name what to compare");
  const twice = adapters.find((name, at) => adapters.indexOf(name) < at);
  if (twice !== undefined) throw new RandloraError("usage", `--adapter ${twice} is given twice`, "give it once");
  if (data === undefined) throw new RandloraError("usage", "--data is missing", "name the file with samples");
  if (estimator === "full" && batchSize !== undefined) {
    const cause = "--batch-size: --estimator full has no batches";
    throw new Contradiction(["batchSize", "estimator"], cause, "leave it out");
  }
  await using resources = new AsyncDisposableStack();
  const paths: string[] = [];
  for (const name of [reference, ...adapters]) paths.push(await adapterOrModel(name, "model", context));
  const plan = await openPlan(model, paths, options.generator, context);
  const { location } = plan;
  const inputs = [location.weights ?? location.folder, ...weightsIn(paths), ...(await dataIn(data, dataset))];
  const figure = svg === undefined ? undefined : resources.use(await beginFigure(svg, options.force, inputs));
  const ofImages = await isOfImages(plan.location.folder);
  refuseForeign(ofImages, { texts: { maxLength }, images: { dataset, split } });
  const outputsFor = ofImages ? outputsForImages : outputsForTexts;
  const outputs = await outputsFor(plan, { data, samples: most, maxLength, dataset, split }, context);
  const { signal, device } = context;
  const settings = { estimator, batchSize: batchSize ?? 64, signal };
  const { length, unit } = outputs;
  const samples = samplesUsed(outputs, settings);
  if (samples < length) {
    context.log.info(`the last ${length - samples} of ${length} ${unit} are no batch of 4, and left out`);
  }
  const gpu = resources.use(await openDevice(device));
  using bar: Progress = context.progress({ title: "comparing", items: length * paths.length, unit });
  const collect = await outputs.begin(gpu, resources, (items) => bar.add({ items }));
  const [first, ...others] = plan.variants;
  if (first === undefined) throw new RangeError("no reference");
  const layers = await compareLayers(collect, first, others, settings);
  bar.close();
  const report = { reference, adapters, layers, samples, estimator };
  await figure?.write(ckaSvg(report));
  await showProfiled(gpu, context, ckaJson(report), () => ckaText(report, context));
}

/** What `analyze cka` found. */
export interface CkaReport {
  readonly reference: string;
  /** What each value of a layer is of, as the user named it. */
  readonly adapters: readonly string[];
  readonly layers: readonly LayerCka[];
  /** Those that took part. */
  readonly samples: number;
  readonly estimator: Estimator;
}

/**
 * `analyze cka --json`.
 * @json analyze cka
 */
interface CkaJson extends ProfileJson {
  readonly layers: readonly {
    /** Module. */
    readonly name: string;
    /** By adapter, as it was written. */
    readonly cka: Readonly<Record<string, number | null>>;
  }[];
  /** Samples that took part. */
  readonly samples: number;
  readonly estimator: Estimator;
  readonly reference: string;
}

export function ckaJson({ reference, adapters, layers, samples, estimator }: CkaReport): CkaJson {
  return {
    layers: layers.map(({ name, values }) => ({
      name,
      cka: Object.fromEntries(adapters.map((adapter, at) => [adapter, finite(values[at])])),
    })),
    samples,
    estimator,
    reference,
  };
}

function finite(value: number | undefined): number | null {
  return value !== undefined && Number.isFinite(value) ? value : null;
}

/** A row a module, a column an adapter, and the mean below. */
export function ckaText(report: CkaReport, { columns, style }: { columns: number; style: Style }): string {
  const { reference, adapters, layers, samples, estimator } = report;
  const show = (value: number | null) => (value === null ? "" : value.toFixed(4));
  const rows = layers.map(({ name, values }) => [visible(name), ...values.map((value) => show(finite(value)))]);
  const means = adapters.map((_, at) => {
    const known = layers.flatMap(({ values }) => finite(values[at]) ?? []);
    return known.length === 0 ? "" : show(known.reduce((sum, value) => sum + value, 0) / known.length);
  });
  const head = ["output of", ...adapters.map(visible)];
  const align = `l${"r".repeat(adapters.length)}`;
  const table = formatTable([...rows, ["mean", ...means]], { head, align, columns, markHead: style.dim });
  const how = estimator === "full" ? "over all of them" : "by minibatches";
  return `linear CKA with ${visible(reference)}, ${formatNumber(samples)} samples, ${how}\n${table}`;
}

/** CKA by depth, as figure 4a of the RandLoRA paper: successive outputs of attention and MLP, one curve an adapter. */
export function ckaSvg({ reference, adapters, layers }: CkaReport): string {
  const curves = adapters.map((name, adapter) => ({
    name,
    color: PALETTE[adapter % PALETTE.length] ?? "",
    // By the number of the module, from 0: attention and MLP of each block in turn.
    points: layers.flatMap(({ values }, at): Point[] => {
      const value = values[adapter];
      return value !== undefined && Number.isFinite(value) ? [[at, value]] : [];
    }),
  }));
  const values = curves.flatMap(({ points }) => points.map(([, value]) => value));
  const y = scaleLinear([Math.min(0.99, ...values), Math.max(1, ...values)], [0, 1]).nice(6);
  const [from = 0, to = 1] = y.domain();
  const blocks = scaleLinear([0, Math.max(1, layers.length / 2 - 1)], [0, 1]);
  const axes = {
    x: {
      from: 0,
      to: Math.max(1, layers.length - 1),
      ticks: blocks
        .ticks(8)
        .filter((block) => Number.isInteger(block) && 2 * block < layers.length)
        .map((block) => 2 * block),
      format: (tick: number) => String(tick / 2),
    },
    y: { from, to, ticks: y.ticks(6), format: y.tickFormat(6) },
  };
  const legend = curves.map(({ name, color }) => ({ text: name, color }));
  const names = { x: "block: attention, MLP", y: `CKA with ${reference}` };
  return svgChart({ title: "similarity of representations", axes, names, legend }, (placeX, placeY, path) =>
    curves.flatMap(({ name, color, points }) => {
      const dots = points.map(([at, value]) => {
        const title = escape(`${name}, ${layers[at]?.name ?? ""}: ${value.toFixed(4)}`);
        return `<circle cx="${round(placeX(at))}" cy="${round(placeY(value))}" r="3" fill="${color}"><title>${title}</title></circle>`;
      });
      return [`<path d="${path(points)}" fill="none" stroke="${color}" stroke-width="2"/>`, ...dots];
    }),
  );
}
