import { expect, test } from "bun:test";
import { WgslReflect } from "wgsl_reflect";
import { deltaKernel, deltaParameters, type DeltaParameters, type DeltaStorage, type DeltaVariant } from "./delta.ts";

const STORAGES: readonly DeltaStorage[] = ["bf16", "f16", "f32", "ternary", "philox"];
const VARIANTS: readonly DeltaVariant[] = STORAGES.flatMap((storage) =>
  (["peft", "paper"] as const).flatMap((pairing) => [
    { a: storage, b: storage, pairing, staging: { kind: "workgroup" } as const },
    ...[4, 8, 16, 32, 64].map((lanes) => ({
      a: storage,
      b: storage,
      pairing,
      staging: { kind: "subgroup", lanes } as const,
    })),
  ]),
);

/** Each field with a value of its own. */
const DISTINCT: DeltaParameters = {
  rows: 1,
  cols: 2,
  terms: 3,
  fastCount: 4,
  firstRow: 5,
  firstCol: 6,
  bStride: 7,
  aStride: 8,
  gammaStride: 9,
  targetPitch: 10,
  transposed: true,
  accumulate: true,
  scale: 14,
  threshold: 19,
  key: [17, 18],
  dense: true,
  aDrawn: 20,
  bDrawn: 21,
  targetAt: 23,
  dropped: 24,
};

const FLAGS: ReadonlySet<string> = new Set(["transposed", "accumulate", "dense"]);

function camel(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}

test("the parameters are packed where the shader reads them", () => {
  const { code } = deltaKernel({ a: "bf16", b: "bf16", pairing: "peft", staging: { kind: "workgroup" } });
  const declaration = code.slice(0, code.indexOf("@compute")).match(/struct Parameters \{[^}]*\}/)?.[0] ?? "";
  const struct = new WgslReflect(declaration).structs.find(({ name }) => name === "Parameters");
  const words = deltaParameters(DISTINCT);
  expect(words.byteLength).toBe(struct?.size ?? 0);
  const floats = new Float32Array(words.buffer);
  const found: Record<string, unknown> = {};
  for (const { name, offset } of struct?.members ?? []) {
    if (name.startsWith("pad")) continue;
    const at = offset / 4;
    const [word = 0, next = 0] = words.subarray(at);
    const value = name === "scale" ? floats[at] : name === "key" ? [word, next] : word;
    found[camel(name)] = FLAGS.has(name) ? value === 1 : value;
  }
  expect(found).toEqual({ ...DISTINCT });
});

test("every variant is a shader of its own with the same bindings", () => {
  const sources = VARIANTS.map(deltaKernel);
  expect(new Set(sources.map(({ key }) => key)).size).toBe(VARIANTS.length);
  for (const { key, code } of sources) {
    expect(code, key).not.toMatch(/^\s*#|\$\{/m);
    const bindings = [...code.matchAll(/@binding\((\d+)\)/g)].map(([, index]) => Number(index));
    expect(bindings, key).toEqual([0, 1, 2, 3, 4, 5]);
  }
});
