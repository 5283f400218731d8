import { expect, test } from "bun:test";
import { read, uploaded } from "../../device/transfer.ts";
import { Run } from "../../tensor/run.ts";
import { openInterpreted } from "../testing/interpreted.ts";

/** One row of W: the least subnormal numbers, the largest ones, a zero, a number. */
const CASES = {
  F32: new Uint8Array(
    Uint32Array.of(1, 0x80000001, 0x007fffff, 0x807fffff, 0, 0x3f800000, 0x00012345, 0x7f7fffff).buffer,
  ),
  BF16: new Uint8Array(Uint16Array.of(1, 0x8001, 0x007f, 0x807f, 0, 0x3f80, 0x0012, 0x7f7f).buffer),
} as const;

test.each(["F32", "BF16"] as const)(
  "W stays where ΔW is zero, %s, though the GPU adds subnormal numbers as zero",
  async (dtype) => {
    const { gpu, findings } = openInterpreted();
    const [weight, target] = [uploaded(gpu, "W", CASES[dtype]), uploaded(gpu, "target", new Uint8Array(32))];
    const { statistics: bytes } = gpu.scratchBytes("finish", { rows: 1, cols: 8 });
    const statistics = gpu.memory.allocate("statistics", bytes);
    using run = new Run(gpu);
    const delta = uploaded(gpu, "ΔW", new Uint8Array(32));
    const rows = { rows: 1, cols: 8, pitch: 8 };
    run.compute("finish", {
      ...rows,
      weight: { buffer: weight, dtype },
      delta,
      target: { buffer: target, dtype },
      statistics,
    });
    await run.submit();
    expect((await read(gpu, target)).subarray(0, CASES[dtype].length)).toEqual(CASES[dtype]);
    const [, , changed] = new Float32Array((await read(gpu, statistics)).buffer);
    expect([changed, findings]).toEqual([0, []]);
    gpu.close();
  },
);
