import { expect, test } from "bun:test";
import type { GeneratorName, Sparsity } from "../../../compute/random/names.ts";
import { drawSteps } from "./draw.ts";
import { MemoryStdCache, whole } from "../../testing/drawn-bases.ts";
import { type BasesSpec, finishSteps, type Steps, takeSteps } from "./bases.ts";

/** Tens of millions of draws: more than one turn, whatever the machine. */
function draw(generator: GeneratorName, sparsity: Sparsity) {
  const spec: BasesSpec = { generator, key: 1n, r: 64, max: 6000, min: 4096, sparsity, grid: "bf16" };
  return drawSteps(spec, whole(spec), new MemoryStdCache());
}

test.each<[GeneratorName, Sparsity]>([
  ["torch-mt19937-bf16-v2", "dense"],
  ["torch-mt19937-f32", "dense"],
  ["torch-mt19937-ternary", "sparse"],
])("a long draw (%s, %s) hears the signal", async (generator, sparsity) => {
  const stop = new AbortController();
  // It comes from the event loop, as a signal does.
  setTimeout(() => stop.abort(new Error("stopped")), 0);
  await expect(takeSteps(draw(generator, sparsity), stop.signal)).rejects.toThrow("stopped");
});

test("what is taken in turns is what is done in one go", async () => {
  function* count(): Steps<number> {
    let sum = 0;
    for (let i = 0; i < 100; i++) {
      const end = performance.now() + 1;
      while (performance.now() < end);
      sum += i;
      yield;
    }
    return sum;
  }
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  expect(await takeSteps(count())).toBe(4950);
  clearInterval(timer);
  expect(turns).toBeGreaterThan(0);
  expect(finishSteps(count())).toBe(4950);
});

test("a signal that was aborted before is heard before anything is done", async () => {
  // oxlint-disable-next-line require-yield -- nothing of it may run
  function* never(): Steps<void> {
    throw new Error("began");
  }
  await expect(takeSteps(never(), AbortSignal.abort(new Error("stopped")))).rejects.toThrow("stopped");
});
