import { expect, test } from "bun:test";
import { CpuDevice } from "../../../compute/cpu/cpu.ts";
import { failingAfter } from "../../../compute/device/testing/failing.ts";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import { matricesOf } from "../../blocks/sight.ts";
import { writeArchitecture } from "../../testing/architectures.ts";
import { loadConfig } from "../architectures/index.ts";
import { allocateLayer, layerBytes } from "./layer-cache.ts";

test.each(["llama", "lfm2", "qwen3_5_text"])(
  "a layer takes the bytes that are counted, or none where there is no room for a part of it: %s",
  async (type) => {
    await using folder = await TemporaryFolder.create();
    await writeArchitecture(folder.path, type, 4);
    using device = await CpuDevice.open({ threads: 1 });
    const { memory } = device;
    for (const layer of (await loadConfig(folder.path)).layers) {
      let buffers = 0;
      for (let isWhole = false; !isWhole; buffers++) {
        try {
          const cache = allocateLayer(failingAfter(device, buffers).memory, layer, 512, "F16");
          isWhole = true;
          expect(memory.liveBytes).toBe(layerBytes(layer, 512, "F16", 1));
          for (const { buffer } of matricesOf(cache)) memory.release(buffer);
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: "memory" });
        }
        expect(memory.liveBytes).toBe(0);
      }
      expect(buffers).toBeGreaterThan(1);
    }
  },
);
