import { openCheckpoint } from "../folder/open-checkpoint.ts";
import type { ModelLocation } from "../folder/locate.ts";
import type { ImageConfig } from "./config.ts";
import { loadImageConfig } from "./index.ts";

/** What a model of images is, by its config.json and the headers of its weights. @throws RandloraError as `loadImageConfig` */
export async function readImageConfig({ folder, weights }: ModelLocation): Promise<ImageConfig> {
  await using checkpoint = await openCheckpoint(weights ?? folder);
  return await loadImageConfig(folder, checkpoint.tensors);
}
