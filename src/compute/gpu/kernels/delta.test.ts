import { expect, test } from "bun:test";
import type { DeltaStorage, DeltaVariant } from "../../device/families/delta.ts";
import { deltaKernel } from "./delta.ts";

const STORAGES: readonly DeltaStorage[] = ["bf16", "f16", "f32", "ternary", "philox"];
const VARIANTS: readonly DeltaVariant[] = STORAGES.flatMap((storage) =>
  (["peft", "paper"] as const).map((pairing) => ({ a: storage, b: storage, pairing })),
);

test("every variant is a shader of its own with the same bindings", () => {
  const sources = VARIANTS.map(deltaKernel);
  expect(new Set(sources.map(({ key }) => key)).size).toBe(VARIANTS.length);
  for (const { key, code } of sources) {
    expect(code, key).not.toMatch(/^\s*#|\$\{/m);
    const bindings = [...code.matchAll(/@binding\((\d+)\)/g)].map(([, index]) => Number(index));
    expect(bindings, key).toEqual([0, 1, 2, 3, 4, 5]);
  }
});
