import { cp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { readModel } from "../../adapters/merge/testing/models.ts";
import { safetensorsBytes } from "../../adapters/testing/adapters.ts";

/** How many of five layers {@link writeSmallModel} keeps. */
export const LAYERS = 2;

/** Writes the model of the stories with its first layers only: a run of it costs half, and knows more than one layer. */
export async function writeSmallModel(folder: string): Promise<string> {
  await cp(STORIES, folder, { recursive: true });
  const own = (name: string) => !(Number(/layers\.(\d+)\./.exec(name)?.[1] ?? 0) >= LAYERS);
  const tensors = Object.entries(await readModel(STORIES)).filter(([name]) => own(name));
  await writeFile(join(folder, "model.safetensors"), safetensorsBytes(Object.fromEntries(tensors)));
  const config: object = await Bun.file(join(folder, "config.json")).json();
  await writeFile(join(folder, "config.json"), JSON.stringify({ ...config, num_hidden_layers: LAYERS }));
  return folder;
}
