import { describe, expect, test } from "bun:test";
import type { Dtype, WritableFloatDtype } from "../../files/safetensors/dtype.ts";
import { convertTensor } from "./stored-weight.ts";
import type { TensorSource } from "./plan.ts";
import { rounded, widened } from "./testing/models.ts";
import { refusalOf } from "../../files/testing/folder.ts";

function source(dtype: Dtype, data: Uint8Array, fromAdapter = false): TensorSource {
  const read = async (out: Uint8Array, start = 0) => out.set(data.subarray(start, start + out.length));
  return { label: 'x.safetensors: "w"', dtype, bytes: data.length, fromAdapter, read };
}

async function convert(from: TensorSource, target: Dtype): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  await convertTensor(from, target, async (bytes) => void pieces.push(bytes.slice()));
  return Buffer.concat(pieces);
}

const FLOATS: readonly WritableFloatDtype[] = ["F64", "F32", "F16", "BF16"];

describe.each(FLOATS)("a tensor in %s", (from) => {
  const values = Float64Array.of(0, -0, 1, 1 / 3, -60000, 1e-7, 1 + 2 ** -9, 1 + 3 * 2 ** -12);

  test.each(FLOATS)("is rounded to %s once, to nearest", async (target) => {
    const data = rounded(values, from);
    const want = rounded(widened({ dtype: from, data }), target);
    expect(Buffer.from(await convert(source(from, data), target))).toEqual(Buffer.from(want));
  });
});

test("longer tensors are converted portion by portion", async () => {
  const values = Float64Array.from({ length: (1 << 20) + 3 }, (_, i) => Math.sin(i));
  const data = rounded(values, "F32");
  const found = await convert(source("F32", data), "BF16");
  expect(Buffer.compare(found, rounded(widened({ dtype: "F32", data }), "BF16"))).toBe(0);
});

test("the bytes stay what they are where the dtypes agree, NaN and integers too", async () => {
  const odd = Uint8Array.of(1, 0xfc, 0, 0x7c, 0xff, 0xff);
  expect(await convert(source("F16", odd), "F16")).toEqual(Buffer.from(odd));
  expect(await convert(source("I16", odd), "I16")).toEqual(Buffer.from(odd));
});

test.each([
  [65519, "F16", true],
  [-65520, "F16", false],
  [3.3895313892515355e38, "BF16", true],
  [3.4e38, "BF16", false],
  [3.4028234e38, "F32", true],
  [-3.5e38, "F32", false],
] as const)("%d fits %s: %p", async (value, target, fits) => {
  const from = source("F64", rounded(Float64Array.of(0, value), "F64"));
  if (fits) expect(Number.isFinite(widened({ dtype: target, data: await convert(from, target) })[1])).toBe(true);
  else
    expect((await refusalOf(() => convert(from, target))).message).toBe(
      `x.safetensors: "w": 1 of its weights are too large for ${target}`,
    );
});

test("NaN and infinity of the base pass through; an adapter's own are refused", async () => {
  const data = rounded(Float64Array.of(NaN, Infinity, 1), "F32");
  expect([...widened({ dtype: "F16", data: await convert(source("F32", data), "F16") })]).toEqual([NaN, Infinity, 1]);
  for (const target of ["F32", "BF16"] as const) {
    const refusal = await refusalOf(() => convert(source("F32", data, true), target));
    expect([refusal.code, refusal.message]).toEqual([
      "numeric",
      'x.safetensors: "w": 2 of its values are NaN or infinite',
    ]);
  }
});
