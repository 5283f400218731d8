import { expect, test } from "bun:test";
import type { BasisMatrix, BasisStorage } from "../../compute/device/matrix-storage.ts";
import { identityOf } from "../delta/scaled-bases/training-bases.ts";

const matrix = (storage: BasisStorage): BasisMatrix => ({ rows: 2, cols: 2, stride: 8, storage });
const bf16 = (value: number) => matrix({ kind: "bf16", data: new Uint16Array(16).fill(value) });
const ternary = (scale: number) => matrix({ kind: "ternary", data: new Uint32Array(2).fill(5), scale });
const drawn = (stream: 0 | 1) =>
  matrix({
    kind: "philox",
    key: [1, 2],
    stream,
    sparsity: "dense",
    grid: "f32",
    scale: 1,
    threshold: 0,
    pitch: 2,
  });

test("bases have one identity where elements, storage, shape and rank are the same, and no other's", async () => {
  const all = [
    { r: 2, a: bf16(1), b: bf16(2) },
    { r: 2, a: bf16(2), b: bf16(1) },
    { r: 1, a: bf16(1), b: bf16(2) },
    { r: 2, a: { ...bf16(1), cols: 1 }, b: bf16(2) },
    { r: 2, a: matrix({ kind: "f16", data: new Uint16Array(16).fill(1) }), b: bf16(2) },
    { r: 2, a: ternary(1), b: ternary(1) },
    { r: 2, a: ternary(1), b: ternary(2) },
    { r: 2, a: drawn(0), b: drawn(1) },
    { r: 2, a: drawn(1), b: drawn(1) },
  ];
  const identities = await Promise.all(all.map(identityOf));
  expect(new Set(identities).size).toBe(all.length);
  expect(await identityOf({ r: 2, a: bf16(1), b: bf16(2) })).toBe(identities[0] ?? "");
});
