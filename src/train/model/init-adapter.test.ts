import { expect, test } from "bun:test";
import type { Adapter } from "../../adapters/files/adapter.ts";
import { memoryTensor } from "../../adapters/files/tensors.ts";
import { adapterFingerprint } from "./init-adapter.ts";

/** A stand-in with what a fingerprint reads: settings, and tensors of two numbers each. */
function adapter(config: Adapter["config"], ...tensors: readonly (readonly [name: string, ...values: number[]])[]) {
  const all = tensors.map(([name, ...values]) =>
    memoryTensor(name, "F32", [1, values.length], new Uint8Array(Float32Array.from(values).buffer)),
  );
  return { config, bases: undefined, tensors: new Map(all.map((one) => [one.name, one])) } as unknown as Adapter;
}

test("an adapter's fingerprint follows its settings, its tensors' names and every number, and nothing else", async () => {
  const print = await adapterFingerprint(adapter({ r: 2 }, ["a", 1, 2], ["b", 3, 4]));
  expect(print).toMatch(/^[0-9a-f]{64}$/);
  expect(await adapterFingerprint(adapter({ r: 2 }, ["a", 1, 2], ["b", 3, 4]))).toBe(print);
  const others = [
    adapter({ r: 3 }, ["a", 1, 2], ["b", 3, 4]),
    adapter({ r: 2 }, ["a", 1, 2], ["c", 3, 4]),
    adapter({ r: 2 }, ["a", 1, 2], ["b", 3, 5]),
    adapter({ r: 2 }, ["a", 1, 2, 3, 4]),
  ];
  const prints = await Promise.all(others.map(adapterFingerprint));
  expect(new Set([print, ...prints]).size).toBe(5);
});
