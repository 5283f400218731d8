import { afterAll, beforeAll, expect, spyOn, test } from "bun:test";
import { Gpu } from "../../compute/gpu/gpu.ts";
import { smallCard } from "../../compute/gpu/testing/small-card.ts";
import { RandloraError } from "../../files/errors.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { loadDecoder } from "../../models/folder/load-decoder.ts";
import { DecoderWeights } from "../../models/decoder/weights.ts";
import { LLAMA_3B, LLAMA_8B, writeHollow } from "../../models/testing/hollow.ts";
import { fittingContext } from "./fitting-context.ts";
import { logitsAfter } from "../../models/testing/logits.ts";

const [MEMORY, WATCHDOG] = [8e9, 2];

let real: Gpu;
let folder: TemporaryFolder;
const fill = spyOn(DecoderWeights.prototype, "fill");
beforeAll(async () => {
  fill.mockImplementation(async () => {});
  real = await Gpu.open();
  folder = await TemporaryFolder.create();
});
afterAll(async () => {
  fill.mockRestore();
  real.close();
  await folder[Symbol.asyncDispose]();
});

test.each([
  ["3B", "F16", LLAMA_3B],
  ["8B", "F16", LLAMA_8B],
  ["8B", "Q8_ROWS", LLAMA_8B],
] as const)(
  "a chat with a %s model at 32k with keys in %s, or as long as a card of 8 GB allows, exceeds neither that nor 2 seconds",
  async (name, kvDtype, config) => {
    const path = folder.at(`${name}-${kvDtype}`);
    await writeHollow(path, config);
    using card = smallCard(real, MEMORY);
    const { gpu, seen } = card;
    using decoder = await loadDecoder(gpu, path, { quantize: "Q4_0", kvDtype });
    const asked = 32_768;
    const found = await fittingContext(decoder, { asked, rows: 1 }).catch((error: unknown) => error);
    const named = found instanceof RandloraError ? Number(/--context (\d+) fits/.exec(found.hint)?.[1]) : asked;
    expect(named === asked).toBe(name === "3B" || kvDtype === "Q8_ROWS");
    const { context } = await fittingContext(decoder, { asked: named, rows: 1 });
    expect(context).toBeGreaterThan(8000);
    using cache = decoder.createCache();
    await cache.reserve(context);
    // All but the end of a long prompt, as if it had been computed.
    const prompt = Array.from({ length: 600 }, () => 0);
    cache.slot.advance(
      Array.from({ length: context - prompt.length - 2 }, () => 0),
      context,
      true,
    );
    for (const ids of [prompt, [0], [0]]) await logitsAfter(decoder, ids, cache);
    expect(cache.length).toBe(context);
    expect(seen.peak).toBeLessThanOrEqual(MEMORY);
    expect(Math.max(...seen.seconds)).toBeLessThan(WATCHDOG);
  },
  120_000,
);
