import { expect, test } from "bun:test";
import { STORIES } from "../../../../fixtures/stories/storyteller.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { read } from "../../../compute/device/transfer.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { Decoder } from "../decoder.ts";
import { recordForward } from "../forward.ts";

test("a replayed token is, bit for bit, a recorded one, also after the cache has grown or was cut back", async () => {
  using gpu = await openTestDevice();
  using decoder = await Decoder.load(gpu, STORIES);
  const { config, weights } = decoder;
  const before = gpu.memory.liveBytes;
  const ids = Array.from({ length: 250 }, (_, at) => (7 * at) % config.vocabularySize);
  {
    using replayed = decoder.createCache();
    using recorded = decoder.createCache();
    for (const cache of [replayed, recorded]) gpu.memory.release((await decoder.prefill(cache, ids)).buffer);
    const capacity = replayed.capacity;
    using run = new Run(gpu);
    for (let made = 0; made < 12; made++) {
      if (made === 9) for (const cache of [replayed, recorded]) cache.truncate(100);
      const id = (11 * made) % config.vocabularySize;
      const found = await decoder.prefill(replayed, [id]);
      const wanted = run.keep(
        recordForward(run, config, weights, decoder.linears, recorded, [id], recorded.length + 1),
      );
      await run.submit();
      const [foundBytes, wantedBytes] = [await read(gpu, found.buffer), await read(gpu, wanted.buffer)];
      expect(foundBytes).toEqual(wantedBytes);
      for (const { buffer } of [found, wanted]) gpu.memory.release(buffer);
    }
    expect(replayed.capacity).toBeGreaterThan(capacity);
    expect(replayed.ids).toEqual(recorded.ids);
  }
  expect(gpu.memory.liveBytes).toBe(before);
}, 120_000);
