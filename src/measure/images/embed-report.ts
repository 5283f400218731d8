import { formatNumber } from "../../terminal/format.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";
import { visible } from "../../files/visible.ts";

/** Numbers of a vector that people are shown. */
const SHOWN = 4;

/** `embed --json`. */
export function embeddingsJson(embeddings: readonly Float32Array[]): object {
  return { embeddings: embeddings.map((embedding) => [...embedding]) };
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
