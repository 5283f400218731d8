import type { Estimator } from "./cka.ts";
import type { LayerCka } from "./compare-layers.ts";
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
