import { dirname, join } from "node:path";
import { BLOCKS_NAMES } from "../../compute/device/dtype.ts";
import { oneLine } from "../../files/failure.ts";
import { readOptionalJsonObject } from "../../files/read-text.ts";
import { SETTINGS_FILE } from "../../files/run-names.ts";

/**
 * For the user, where the adapter of a run (its folder, or one in it) was trained beside quantized weights: it is merged
 * into others. None where nothing says so.
 */
export async function noteOfBlocks(path: string): Promise<readonly string[]> {
  for (const folder of [path, dirname(path)]) {
    // A run.json that cannot be read is no reason not to merge: the adapter says for itself what it is.
    const { quantize } = await readOptionalJsonObject(join(folder, SETTINGS_FILE)).catch(() => ({ quantize: null }));
    const name = BLOCKS_NAMES.find((one) => one === quantize);
    if (name === undefined) continue;
    return [`${oneLine(path)}: trained beside weights in ${name} (--quantize), and merged into the weights as stored`];
  }
  return [];
}
