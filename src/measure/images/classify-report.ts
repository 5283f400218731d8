import { visible } from "../../files/visible.ts";
import type { QuantizedJson } from "../../terminal/quantized.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";

/** @json classify */
export interface ClassifyJson extends QuantizedJson {
  readonly images: readonly ClassifiedImage[];
}

/** The likeliest classes of an image, the likeliest one first. */
export interface ClassifiedImage {
  readonly path: string;
  /** Likeliest first: name, probability. */
  readonly classes: readonly { readonly name: string; readonly probability: number }[];
}

/** The `top` likeliest of some classes; of equal ones the first. @param logs the logarithms of their probabilities */
export function likeliest(names: readonly string[], logs: Float64Array, top: number): ClassifiedImage["classes"] {
  const all = Array.from(logs, (log, at) => ({ name: names[at] ?? "", probability: Math.exp(log) }));
  return all.toSorted((a, b) => b.probability - a.probability).slice(0, top);
}

/** `classify`: a row a class, under the image's name. */
export function classifyText(
  images: readonly ClassifiedImage[],
  { columns, style }: { columns: number; style: Style },
): string {
  const tables = images.map(({ path, classes }) => {
    const rows = classes.map(({ name, probability }) => [`${(100 * probability).toFixed(2)} %`, visible(name)]);
    return `${style.bold(visible(path))}\n${formatTable(rows, { align: "rl", columns })}`;
  });
  return tables.join("\n");
}
