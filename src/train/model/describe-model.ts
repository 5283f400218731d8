import * as v from "valibot";
import { loadConfig, SUPPORTED_TYPES } from "../../models/decoder/architectures/index.ts";
import { readConfigOf } from "../../models/decoder/config-file.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";
import { IMAGE_TYPES, readImageConfig } from "../../models/vision/index.ts";
import type { ModelFacts } from "../settings/resolve-settings.ts";

const Kind = v.looseObject({ model_type: v.string() });

/**
 * What a model says of a run's defaults, by its config.json and the headers of its weights.
 * @throws RandloraError `file`, `format`; `model` for one that cannot be run
 */
export async function describeModel(
  location: ModelLocation,
): Promise<Pick<ModelFacts, "modelType" | "contextLength" | "images">> {
  const { folder } = location;
  const { model_type: modelType } = await readConfigOf(folder, [...SUPPORTED_TYPES, ...IMAGE_TYPES], Kind);
  if (!IMAGE_TYPES.includes(modelType)) {
    const { contextLength } = await loadConfig(folder);
    return { modelType, contextLength };
  }
  const { text, projections } = await readImageConfig(location);
  return { modelType, images: { texts: text !== undefined && projections !== undefined } };
}
