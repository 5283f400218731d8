import { scaleLinear } from "d3-scale";
import type { Point } from "../../../terminal/charts/axes.ts";
import { escape, PALETTE, round, svgChart } from "../../../terminal/charts/svg-chart.ts";
import type { Estimator, LayerCka } from "./cka.ts";
import { visible } from "../../../files/visible.ts";
import { formatNumber } from "../../../terminal/format.ts";
import type { ProfileJson } from "../../../terminal/profile.ts";
import type { Style } from "../../../terminal/style.ts";
import { formatTable } from "../../../terminal/table.ts";

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
