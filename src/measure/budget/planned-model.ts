import * as v from "valibot";
import { type BaseModel, isInputEmbedding, isOutputEmbedding } from "../../adapters/base/base.ts";
import type { DecoderConfig } from "../../models/decoder/config.ts";
import { elements, inParts, isTrained, type PlannedMatrix } from "../../models/tensor-plan.ts";
import { plannedMatrices } from "../../models/decoder/weight-plan.ts";
import { isPacked, readConfigOf } from "../../models/decoder/config-file.ts";
import { GGUF_TYPES, type GgufBlocks } from "../../files/gguf/format.ts";
import { GgufFile } from "../../files/gguf/reader.ts";
import { type Dtype, dtypeBytes } from "../../files/safetensors/dtype.ts";
import { type ImageConfig, HEAD_BIAS, HEAD_WEIGHT, type Tensors } from "../../models/vision/config.ts";
import { plannedMatrices as imageMatrices, plannedParts } from "../../models/vision/image-model.ts";
import { IMAGE_TYPES, loadImageConfig } from "../../models/vision/index.ts";
import { gridOf } from "../../models/vision/patches.ts";
import { needsTexts, type TaskKind, trainedMatrices, withinOf } from "../../train/images/task.ts";

/** A model of which nothing but config.json is known. */
export interface PlannedModel {
  /** Its tensors by name, in the type that config.json names. */
  readonly base: BaseModel;
  /** Those of them that are stored in blocks. */
  readonly packed: ReadonlyMap<string, { readonly dtype: GgufBlocks; readonly bytes: number }>;
  /** Numbers in all tensors; a tied output matrix is counted once, as it is stored. */
  readonly parameters: number;
  /** Those of them that a run holds. */
  readonly held: number;
  /** Those of them that are trained where all that can be is. */
  readonly trained: number;
  /** What it is stored in, for people: "f32". */
  readonly format: string;
  readonly bytes: number;
  /** What a step of training goes through. */
  readonly step: PlannedStep;
}

export interface PlannedStep {
  /** How much data it is of, for people. */
  readonly of: string;
  /** Its products with matrices, as far as config.json tells them. */
  readonly products: readonly Product[];
}

/** A product of some rows with a matrix. */
export interface Product {
  readonly tensor: string;
  /** Parameters of the matrix. */
  readonly parameters: number;
  /** Of an expert's those that it has on average, perhaps no whole number. */
  readonly rows: number;
  /** Is ∂loss/∂x asked for? Not of what comes before all that is trained. */
  readonly isDifferentiated: boolean;
  /** Is the matrix trained where all that can be is? */
  readonly isTrained: boolean;
}

/** Tokens of a language model's step. */
const BUDGET_TOKENS = 1024;

/** What torch calls the types of weights. */
const TORCH_DTYPES: Readonly<Record<string, Dtype>> = {
  float64: "F64",
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
};

/**
 * The checkpoint that a decoder's config.json promises, tensor by tensor.
 *
 * @param json the same config.json as it was written: its `dtype` (`torch_dtype` before transformers 5), F32 without one
 * @param path names the model in messages
 */
export function plannedModel(
  config: DecoderConfig,
  json: Readonly<Record<string, unknown>>,
  path: string,
): PlannedModel {
  const planned = plannedMatrices(config);
  const matrices = planned.map((matrix) => inParts(matrix));
  const parts = matrices.flatMap((matrix) => matrix.parts);
  // An embedding is looked up; a tied one is the output matrix as well.
  const hasHead = parts.some(({ name }) => isOutputEmbedding(moduleOf(name)));
  const shares = sharesOfTokens(config);
  const products = planned.flatMap((matrix) => {
    const share = shares.get(matrix);
    if (matrix.inFile === true) return [];
    return inParts(matrix)
      .parts.filter(({ stored }) => stored.length === 2 || share !== undefined)
      .filter(({ name }) => !(hasHead && isInputEmbedding(name)))
      .map(({ name, stored }) => ({
        tensor: name,
        parameters: elements(stored),
        rows: BUDGET_TOKENS * (share ?? 1),
        isDifferentiated: true,
        isTrained: true,
      }));
  });
  const stored = storedAs(matrices, json, path);
  const trained = parametersOf(matrices.filter(isTrained));
  const of = `${BUDGET_TOKENS.toLocaleString("en")} tokens`;
  return {
    ...stored,
    held: parametersOf(matrices.filter(({ inFile }) => inFile !== true)),
    trained,
    step: { of, products },
  };
}

/** Of the tokens of a step, how many an expert has: those that are chosen among all, on average. */
function sharesOfTokens({ layers }: DecoderConfig): ReadonlyMap<PlannedMatrix, number> {
  const mixers = layers.flat().flatMap(({ mixer }) => (mixer.kind === "experts" ? [mixer] : []));
  return new Map(
    mixers.flatMap(({ gateUp, down, chosen, count }) =>
      [gateUp, down].map((matrix) => [matrix, chosen / count] as const),
    ),
  );
}

/** What a config.json promises of these matrices. */
export function storedAs(
  matrices: readonly PlannedMatrix[],
  json: Readonly<Record<string, unknown>>,
  path: string,
): Pick<PlannedModel, "base" | "packed" | "parameters" | "format" | "bytes"> {
  const dtype = dtypeOf(json);
  const parts = matrices.flatMap((matrix) => matrix.parts);
  const tensors = new Map(parts.map(({ name, stored }) => [name, { dtype, shape: stored }]));
  const parameters = parametersOf(matrices);
  const inBlocks = isPacked(json) ? matrices.filter(({ transposed }) => transposed === true) : [];
  const packed = new Map(
    inBlocks.flatMap((matrix) =>
      matrix.parts.map(({ name, stored }) => {
        const { bytes, elements: each } = GGUF_TYPES.MXFP4;
        return [name, { dtype: "MXFP4", bytes: (elements(stored) / each) * bytes }] as const;
      }),
    ),
  );
  const format = [dtype.toLowerCase(), ...(packed.size > 0 ? ["MXFP4"] : [])].join(" and ");
  const bytes = [...packed.values()].reduce(
    (sum, one) => sum + one.bytes,
    (parameters - parametersOf(inBlocks)) * dtypeBytes(dtype),
  );
  return { base: { path, tensors, config: json }, packed, parameters, format, bytes };
}

/** The same model as a GGUF file has it: in blocks, or in several types. @throws RandloraError as `GgufFile.open` */
export async function storedInGguf(path: string): Promise<Pick<PlannedModel, "format" | "bytes">> {
  await using file = await GgufFile.open(path);
  const tensors = [...file.header.tensors.values()];
  const format = [...new Set(tensors.map(({ type }) => type))].toSorted().join(", ");
  return { format, bytes: tensors.reduce((sum, { bytes }) => sum + bytes, 0) };
}

/** Numbers in all parts of these. */
export function parametersOf(matrices: readonly PlannedMatrix[]): number {
  return matrices.flatMap(({ parts }) => parts).reduce((sum, { stored }) => sum + elements(stored), 0);
}

function moduleOf(tensor: string): string {
  return tensor.slice(0, tensor.lastIndexOf("."));
}

function dtypeOf(json: Readonly<Record<string, unknown>>): Dtype {
  const name = json["dtype"] ?? json["torch_dtype"];
  const plain = typeof name === "string" ? name.replace(/^torch\./, "") : "";
  return Object.hasOwn(TORCH_DTYPES, plain) ? (TORCH_DTYPES[plain] ?? "F32") : "F32";
}

/** Images of a step: finetune's usual batch. */
const BUDGET_IMAGES = 32;

type Json = Readonly<Record<string, unknown>>;

/**
 * What config.json alone says of a model of images: its class tells which tensors the checkpoint has.
 * @throws RandloraError as `loadImageConfig`
 */
export async function promisedModel(folder: string): Promise<{ readonly config: ImageConfig; readonly json: Json }> {
  const json = await readConfigOf(
    folder,
    IMAGE_TYPES,
    v.looseObject({ architectures: v.nullish(v.array(v.string())) }),
  );
  const isHeaded = json.architectures?.[0]?.endsWith("ForImageClassification") ?? false;
  const names = isHeaded ? [HEAD_WEIGHT, HEAD_BIAS, "dinov2.embeddings.cls_token"] : [];
  // Where config.json names no classes, transformers has two.
  const tensors: Tensors = new Map(names.map((name) => [name, { info: { shape: [2] } }]));
  return { config: await loadImageConfig(folder, tensors), json };
}

/**
 * The checkpoint that the config.json of CLIP or DINOv2 promises, and what a task makes of it. Heads that are trained are left
 * out, because their size follows from the number of classes, and so are the texts' operations, whose lengths nobody knows.
 * @param json as `plannedModel`
 * @throws RandloraError `usage` for a task that needs texts, and a model without them
 */
export function plannedImages(config: ImageConfig, task: TaskKind, json: Json, path: string): PlannedModel {
  const within = withinOf(task, config);
  const { vision, text, joint } = plannedParts(config);
  const stored = storedAs(imageMatrices(config), json, path);
  const held = stored.parameters - (needsTexts(task) ? 0 : parametersOf(text));
  const [rows, cols] = gridOf(config.vision.image, config.vision.patch);
  const patches = BUDGET_IMAGES * rows * cols;
  const tokens = BUDGET_IMAGES + patches;
  const isReached = !(task.kind === "contrastive" && task.towers === "text");
  const productsWith = (matrix: PlannedMatrix, of: number, isDifferentiated = isReached): Product[] =>
    matrix.parts.map((part) => ({
      tensor: part.name,
      parameters: parametersOf([{ ...matrix, parts: [part] }]),
      rows: of,
      isDifferentiated,
      isTrained: isReached,
    }));
  const products = vision.flatMap((matrix) => {
    if (matrix.kind === "linear") return productsWith(matrix, tokens);
    const isPatches = matrix.parts.some(({ name }) => name === `${config.vision.names.patches}.weight`);
    return isPatches ? productsWith(matrix, patches, false) : [];
  });
  const projection = joint !== undefined && needsTexts(task) ? productsWith(joint.vision, BUDGET_IMAGES) : [];
  const texts = task.kind === "contrastive" ? ", texts left out" : "";
  return {
    ...stored,
    base: { ...stored.base, within },
    held,
    trained: parametersOf(trainedMatrices(task, config)),
    step: {
      of: `${BUDGET_IMAGES} images (${tokens.toLocaleString("en")} tokens${texts})`,
      products: [...products, ...projection],
    },
  };
}
