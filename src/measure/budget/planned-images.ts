import * as v from "valibot";
import { readConfigOf } from "../../models/decoder/config-file.ts";
import type { PlannedMatrix } from "../../models/tensor-plan.ts";
import { gridOf } from "../../models/vision/patches.ts";
import { type ImageConfig, HEAD_BIAS, HEAD_WEIGHT, type Tensors } from "../../models/vision/config.ts";
import { plannedMatrices, plannedParts } from "../../models/vision/image-model.ts";
import { IMAGE_TYPES, loadImageConfig } from "../../models/vision/index.ts";
import { needsTexts, type TaskKind, trainedMatrices, withinOf } from "../../train/images/task.ts";
import { parametersOf, type PlannedModel, type Product, storedAs } from "./planned-model.ts";

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
  const stored = storedAs(plannedMatrices(config), json, path);
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
