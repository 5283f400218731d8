import { ARCHITECTURES } from "../../models/decoder/architectures/index.ts";
import { IMAGE_TYPES } from "../../models/vision/index.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";
import verified from "./verified.json";

/** @json models */
interface ModelsJson {
  readonly models: readonly ModelKind[];
}

/** What a model was held to with these weights. */
interface VerifiedWith {
  /** A published checkpoint, or `random`: a tiny model of the architecture. */
  readonly weights: string;
  /** Day on which each check last passed. */
  readonly checks: Readonly<Partial<Record<Check, string>>>;
}

/** A kind of model that can be run. */
export interface ModelKind {
  /** A model_type of config.json. */
  readonly type: string;
  readonly title: string;
  /** Architecture in GGUF files. */
  readonly gguf: string | null;
  /** Beside other programs; empty: never. */
  readonly verified: readonly VerifiedWith[];
}

const IMAGE_TITLES: Readonly<Record<string, string>> = { clip: "CLIP (images and texts)", dinov2: "DINOv2 (images)" };

/** The kinds of models that can be run, for `--json`. */
export function modelsJson(): ModelsJson {
  const kind = (type: string, title: string, gguf: string | null): ModelKind => {
    const verified = Object.entries(verifiedOf(type) ?? {}).map(([weights, checks]) => ({ weights, checks }));
    return { type, title, gguf, verified };
  };
  const texts = ARCHITECTURES.map(({ type, title, gguf }) => kind(type, title, gguf?.name ?? null));
  const images = IMAGE_TYPES.map((type) => kind(type, IMAGE_TITLES[type] ?? type, null));
  return { models: [...texts, ...images] };
}

/** The same for people. */
export function modelsText({ columns, style }: { readonly columns: number; readonly style: Style }): string {
  const { models } = modelsJson();
  const checks = Object.keys(CHECKS) as Check[];
  const rows = models.map(({ type, title, gguf, verified }) => {
    const marks = checks.map((check) => {
      const passed = verified.filter((one) => check in one.checks);
      return passed.length === 0 ? "–" : passed.some(({ weights }) => weights !== RANDOM) ? "P" : "r";
    });
    const last = verified.flatMap((one) => Object.values(one.checks)).toSorted();
    return [type, title, gguf ?? "–", ...marks, last.at(-1) ?? "never run"];
  });
  const head = ["model_type", "models", "in GGUF", ...checks, "last run"];
  const table = formatTable(rows, { head, markHead: style.bold, columns });
  const published = new Set(models.flatMap(({ verified }) => verified.map(({ weights }) => weights)));
  published.delete(RANDOM);
  const legend = formatTable(
    [
      ["P", `verified with published weights: ${[...published].join(", ") || "none"}`],
      ["r", "verified with random weights: a tiny model of the architecture"],
      ["–", "not in the record"],
      ...Object.entries(CHECKS),
    ],
    { columns },
  );
  return `${table}\n${legend}`;
}

/** What the interop suite holds models to. */
export const CHECKS = {
  logits: "transformers' logits (of images: embeddings) within 1e-3 of the largest",
  texts: "transformers' greedy tokens",
  beams: "transformers' beam search: texts and scores",
  training: "PEFT's loss at every step within 0.2 %",
  merge: "PEFT's merged weights, or what they compute, within 1e-3 of the largest",
  quantize: "with --quantize, the perplexity of weights that Python's gguf rounded",
  gguf: "the tensors, types and metadata that Python's gguf writes",
  "llama.cpp": "the tokens that llama.cpp decodes from our GGUF file",
} as const;
/** The name of one of them. */
export type Check = keyof typeof CHECKS;

/** Weights that nobody published: a tiny model of the architecture. */
export const RANDOM = "random";

/** By `model_type` and weights, the day on which a check was last passed. `bun interop/verified.ts` writes it. */
export type Verified = Readonly<Record<string, Readonly<Record<string, Readonly<Partial<Record<Check, string>>>>>>>;

/** What was verified of a `model_type`: nothing of one that no suite has run. */
function verifiedOf(type: string): Verified[string] {
  return (verified as Verified)[type] ?? {};
}
