import { measurePeak } from "../../../compute/gpu/peak.ts";
import { Gpu } from "../../../compute/gpu/gpu.ts";
import { type DeviceOptions, openDevice } from "../../../compute/open-device.ts";
import { attentionSuite } from "../../speed/attention.ts";
import { deltaSuite } from "../../speed/delta.ts";
import { gemmSuite } from "../../speed/gemm.ts";
import { memorySuite } from "../../speed/memory.ts";
import { quantizedSuite } from "../../speed/quantized.ts";
import type { Suite } from "../../speed/suite.ts";
import { time } from "../../speed/time.ts";
import type { Check } from "./check.ts";
import type { Speed } from "./messages.ts";

/** Of each suite, how the names of the cases begin that stand for their kernels. */
const CHOSEN: readonly (readonly [Suite, readonly string[]])[] = [
  [gemmSuite, ["NT 512 × 576→1536", "NN 512 × 576→1536", "TN 512 × 576→1536"]],
  [quantizedSuite, ["1 × 4096→4096", "512 × 576→1536"]],
  [deltaSuite, ["1024×1024"]],
  [attentionSuite, ["forward, 1024 tokens in sequences of 512", "backward, 1024 tokens in sequences of 512"]],
];

/** The speed of each kind of kernel, as `bun run bench` measures it; the first is the device's peak. */
export function speedChecks(options: DeviceOptions): Check[] {
  const speedsOf = (suite: Suite, beginnings: readonly string[]): Check => ({
    op: "speed",
    format: suite.name,
    size: suite.title,
    async run(devices) {
      await devices.close();
      const wanted = (name: string): boolean => beginnings.some((beginning) => name.startsWith(beginning));
      return { speeds: await measured(suite, wanted, options) };
    },
  });
  const peak: Check = {
    op: "speed",
    format: "peak",
    size: "what the device gives at most",
    async run(devices) {
      const device = await devices.get();
      const gflops = device instanceof Gpu ? await measurePeak(device) : null;
      await devices.close();
      const [copied] = await measured(memorySuite, () => true, options);
      return { speeds: [{ name: "peak", gflops, gigabytes: copied?.gigabytes ?? null }] };
    },
  };
  return [peak, ...CHOSEN.map(([suite, beginnings]) => speedsOf(suite, beginnings))];
}

async function measured(suite: Suite, wanted: (name: string) => boolean, options: DeviceOptions): Promise<Speed[]> {
  const speeds: Speed[] = [];
  for await (const { name, amount, gigabytes, run } of suite.cases(wanted, () => openDevice(options))) {
    if (!wanted(name)) continue;
    const { medianSeconds: seconds } = await time(run);
    speeds.push({
      name: `${suite.name}: ${name}`,
      gflops: suite.unit === "GFLOP/s" ? amount / seconds : null,
      gigabytes: gigabytes === undefined ? null : gigabytes / seconds,
    });
  }
  return speeds;
}
