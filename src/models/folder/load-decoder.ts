import type { Device } from "../../compute/device/device.ts";
import { loadConfig } from "../decoder/architectures/index.ts";
import { Decoder, type LoadOptions } from "../decoder/decoder.ts";
import { openCheckpoint } from "./open-checkpoint.ts";

/**
 * Loads the language model of a folder.
 * @throws RandloraError `file`, `format`, `model` (not supported, weights missing or left over), `memory`, `gpu`
 */
export async function loadDecoder(
  gpu: Device,
  folder: string,
  {
    weights,
    ...options
  }: LoadOptions & {
    /** The index.json, .safetensors or .gguf file to read instead of the folder's own. */
    readonly weights?: string | undefined;
  } = {},
): Promise<Decoder> {
  await using checkpoint = await openCheckpoint(weights ?? folder);
  return await Decoder.load(gpu, checkpoint, await loadConfig(folder), options);
}
