import type { Device } from "../../compute/device/device.ts";
import { readRows } from "../../compute/tensor/read-rows.ts";
import { Run } from "../../compute/tensor/run.ts";
import { PLAIN_LINEARS } from "../blocks/linears.ts";
import type { Decoder } from "../decoder/decoder.ts";
import { recordSamples } from "../decoder/training.ts";

/** Hidden states of samples that are packed one after another into a batch, and those of each sample alone. */
export async function packedAndAlone(
  gpu: Device,
  { config, weights }: Decoder,
  samples: readonly (readonly number[])[],
): Promise<{ readonly packed: Float32Array; readonly alone: readonly number[] }> {
  const hiddenOf = async (texts: typeof samples) => {
    using run = new Run(gpu);
    const starts = texts.map((_, at) => texts.slice(0, at).reduce((sum, { length }) => sum + length, 0));
    const each = (value: (text: number, position: number) => number) =>
      Uint32Array.from(texts.flatMap((text, index) => text.map((_, position) => value(index, position))));
    const batch = {
      ids: Uint32Array.from(texts.flat()),
      positions: each((_, position) => position),
      starts: each((text) => starts[text] ?? NaN),
    };
    const hidden = run.keep(recordSamples(run, config, weights, PLAIN_LINEARS, batch));
    await run.submit();
    const values = await readRows(gpu, hidden, 0, hidden.shape[0]);
    gpu.memory.release(hidden.buffer);
    return values;
  };
  const alone: number[] = [];
  for (const sample of samples) alone.push(...(await hiddenOf([sample])));
  return { packed: await hiddenOf(samples), alone };
}
