import { formatNumber } from "../../terminal/format.ts";
import { quantizedJson } from "../../terminal/quantized.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";
import { visible } from "../../files/visible.ts";
import type { EmbeddingsJson } from "./options.ts";

/** Numbers of a vector that people are shown. */
const SHOWN = 4;

export function embeddingsJson(
  embeddings: readonly Float32Array[],
  quantized: Parameters<typeof quantizedJson>[0],
): EmbeddingsJson {
  return { embeddings: embeddings.map((embedding) => [...embedding]), ...quantizedJson(quantized) };
}

/** A row for each vector: what it is of, its length, and how it begins. @param names what each is of */
export function embeddingsText(
  embeddings: readonly Float32Array[],
  names: readonly string[],
  { columns, style }: { columns: number; style: Style },
): string {
  const rows = embeddings.map((embedding, at) => [
    visible(names[at] ?? ""),
    Math.hypot(...embedding).toFixed(4),
    `${Array.from(embedding.subarray(0, SHOWN), (value) => value.toFixed(4)).join(" ")} …`,
  ]);
  const head = ["of", "length", "begins with"];
  const table = formatTable(rows, { head, align: "lrl", columns, markHead: style.dim });
  return `${table}vectors of ${formatNumber(embeddings[0]?.length ?? 0)} numbers; --json shows all of them\n`;
}
