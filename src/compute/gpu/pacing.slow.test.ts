import { expect, spyOn, test } from "bun:test";
import { promisify } from "node:util";
import { DeltaTrial } from "../../measure/doctor/delta-trial.ts";
import { Gpu } from "./gpu.ts";

test("only Dawn's own ticks are slowed down", async () => {
  using gpu = await Gpu.open();
  const sleep = spyOn(Bun, "sleepSync");
  try {
    // As anonymous and as empty-handed as Dawn's, but JavaScript; and many more of them than Dawn has for free.
    for (let i = 0; i < 200; i++) await new Promise<void>((resolve) => void setImmediate(() => resolve()));
    for (let i = 0; i < 200; i++) await new Promise<void>((resolve) => void setImmediate(resolve));
    for (let i = 0; i < 200; i++) await promisify(setImmediate)();
    expect(sleep).not.toHaveBeenCalled();

    const values = await new Promise((resolve) => void setImmediate((...given: unknown[]) => resolve(given), 1, "two"));
    expect(values).toEqual([1, "two"]);
    let ran = false;
    clearImmediate(setImmediate(() => (ran = true)));
    await Bun.sleep(1);
    expect(ran).toBe(false);

    // A wait of a few hundred ticks: the first are immediate, the later ones sleep, and never longer than 1 ms.
    const shape = { out: 768, in: 768, r: 16 };
    using trial = await DeltaTrial.create(gpu, { ...shape, generator: "torch-mt19937-bf16-v2", sparsity: "dense" });
    sleep.mockClear();
    await trial.run(8);
    const pauses = sleep.mock.calls.map(([milliseconds]) => milliseconds);
    if (gpu.info.software) expect(pauses.length).toBeGreaterThan(0); // a real GPU may be done before the first pause
    expect(pauses.every((pause) => pause <= 1)).toBe(true);
  } finally {
    sleep.mockRestore();
  }
});
