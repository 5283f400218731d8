import { ARCHITECTURES } from "../../models/decoder/architectures/index.ts";
import { IMAGE_TYPES } from "../../models/vision/index.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";

const IMAGE_TITLES: Readonly<Record<string, string>> = { clip: "CLIP (images and texts)", dinov2: "DINOv2 (images)" };

/** The kinds of models that can be run, for `--json`. */
export function modelsJson(): { models: { type: string; title: string; gguf: string | null }[] } {
  const texts = ARCHITECTURES.map(({ type, title, gguf }) => ({ type, title, gguf: gguf?.name ?? null }));
  const images = IMAGE_TYPES.map((type) => ({ type, title: IMAGE_TITLES[type] ?? type, gguf: null }));
  return { models: [...texts, ...images] };
}

/** The same for people. */
export function modelsText({ columns, style }: { readonly columns: number; readonly style: Style }): string {
  const rows = modelsJson().models.map(({ type, title, gguf }) => [type, title, gguf ?? "no"]);
  return formatTable(rows, { head: ["model_type", "models", "GGUF"], markHead: style.bold, columns });
}
