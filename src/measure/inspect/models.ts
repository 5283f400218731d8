import { ARCHITECTURES } from "../../models/decoder/architectures/index.ts";
import { IMAGE_TYPES } from "../../models/vision/index.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";

/** What tests hold every kind of model to, and what each compares with: the interop suites demand a case of every `model_type`. */
export const CHECKS = {
  logits: "transformers' logits, of images embeddings, within 1e-4 of the largest",
  texts: "transformers' greedy tokens and beams",
  training: "PEFT's losses of 20 steps within 0.2 %",
  merge: "PEFT's merged weights within 1e-5 of the largest",
  quantize: "with --quantize, the logits of weights that were rounded before",
  GGUF: "the files of Python's gguf, and 48 tokens that llama.cpp decodes",
} as const;

/** A kind of model that can be run, for `--json`. */
export interface ModelKind {
  /** A model_type of config.json. */
  readonly type: string;
  readonly title: string;
  /** Architecture in GGUF files. */
  readonly gguf: string | null;
  /** Of logits, texts, training, merge, quantize, GGUF. */
  readonly verified: readonly string[];
}

const IMAGE_TITLES: Readonly<Record<string, string>> = { clip: "CLIP (images and texts)", dinov2: "DINOv2 (images)" };

/** @json models */
interface ModelsJson {
  readonly models: readonly ModelKind[];
}

/** The kinds of models that can be run, for `--json`. */
export function modelsJson(): ModelsJson {
  const { GGUF: _, ...ofTexts } = CHECKS;
  const { texts: __, ...ofImages } = ofTexts;
  const texts = ARCHITECTURES.map(({ type, title, gguf }): ModelKind => {
    return { type, title, gguf: gguf?.name ?? null, verified: Object.keys(gguf ? CHECKS : ofTexts) };
  });
  const images = IMAGE_TYPES.map((type): ModelKind => {
    return { type, title: IMAGE_TITLES[type] ?? type, gguf: null, verified: Object.keys(ofImages) };
  });
  return { models: [...texts, ...images] };
}

/** The same for people. */
export function modelsText({ columns, style }: { readonly columns: number; readonly style: Style }): string {
  const checks = Object.keys(CHECKS);
  const rows = modelsJson().models.map(({ type, title, gguf, verified }) => [
    type,
    title,
    ...checks.map((check) => (verified.includes(check) ? (check === "GGUF" ? (gguf ?? "") : "yes") : "no")),
  ]);
  const table = formatTable(rows, { head: ["model_type", "models", ...checks], markHead: style.bold, columns });
  const meanings = formatTable(
    Object.entries(CHECKS).map((row) => [...row]),
    { columns },
  );
  return `${table}\nyes: verified by tests with small random models\n${meanings}`;
}
