import { afterAll, beforeAll, expect, spyOn, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { RandloraError } from "../../files/errors.ts";
import { SlotPool } from "../../models/decoder/cache/slot-pool.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import { BeamSequence } from "./beam-search.ts";
import { loadStories } from "../testing/decoder.ts";
import { DecodeLoop } from "./decode-loop.ts";
import { endOf } from "./sequence.ts";

let gpu: Device;
let decoder: Decoder;
beforeAll(async () => {
  ({ gpu, decoder } = await loadStories());
});
afterAll(() => gpu.close());

test.each([1, 300])(
  "beams that have no room to change places, now and then, come to the same text, after %d tokens",
  async (count) => {
    const prompt = Array.from({ length: count }, (_, n) => 5 + ((n * 37) % 500));
    const search = async () => {
      using loop = new DecodeLoop(decoder, { rows: 4, positions: 4096 });
      const tokens: number[] = [];
      const sequence = new BeamSequence({ prompt, beams: 4, maxTokens: 16, stopTokens: new Set(), context: 1024 });
      const { score } = await endOf(loop.write(sequence), (item) => item.kind === "token" && tokens.push(item.id));
      return { tokens, score };
    };
    const found = await search();
    const { copy } = SlotPool.prototype;
    const { allocate } = gpu.memory;
    let [changes, failures, every] = [0, 0, 2];
    using _ = spyOn(SlotPool.prototype, "copy").mockImplementation(async function (this: SlotPool, moves) {
      // A prompt is copied to one slot at a time, before there is anything to change.
      const isFailing = moves.some(({ to }) => to.length > 0) && ++changes % every === 0;
      let left = isFailing ? changes % 3 : Infinity;
      using _ = spyOn(gpu.memory, "allocate").mockImplementation((...args) => {
        if (left-- > 0) return allocate.apply(gpu.memory, args);
        failures += 1;
        throw new RandloraError("memory", `${args[0]}: there is no room`);
      });
      await copy.call(this, moves);
    });
    expect(await search()).toEqual(found);
    expect(failures).toBeGreaterThan(1);
    every = 1;
    await expect(search()).rejects.toMatchObject({ code: "memory" });
  },
  120_000,
);
