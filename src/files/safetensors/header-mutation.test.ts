import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { RandloraError } from "../errors.ts";
import { DTYPES } from "./dtype.ts";
import type { Header } from "./header.ts";
import { fileBytes, parseFile as parse, tensorEntry as tensor } from "./testing/files.ts";
import { refusalOf } from "../testing/folder.ts";

const data = (length: number) => new Uint8Array(length);

// Whatever happens to a header, what is accepted must be safe to read: this is all that later code relies on.
function checkSafe(bytes: Uint8Array): void {
  let header: Header;
  try {
    header = parse(bytes);
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(RandloraError);
    return;
  }
  let at = header.dataStart;
  for (const { offset, bytes: length, name } of header.byOffset) {
    expect([name, offset]).toEqual([name, at]);
    at += length;
  }
  expect(at).toBe(bytes.length);
  expect(new Set(header.tensors.map(({ name }) => name)).size).toBe(header.tensors.length);
}

const good = fileBytes(
  {
    __metadata__: { format: "pt" },
    "model.a": tensor("F32", [2, 3], 0, 24),
    "model.b": tensor("BF16", [4], 24, 32),
    "model.c": tensor("U8", [], 32, 33),
  },
  data(33),
);

describe("mutated headers never crash, hang or leave the file", () => {
  test("any bytes changed, removed or inserted", () => {
    const edit = fc.record({ at: fc.nat(good.length), remove: fc.nat(3), insert: fc.uint8Array({ maxLength: 3 }) });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), fc.boolean(), (edits, fixLength) => {
        let bytes: number[] = [...good];
        for (const { at, remove, insert } of edits) bytes.splice(Math.min(at, bytes.length), remove, ...insert);
        if (fixLength) bytes = [...fileBytes(new TextDecoder("latin1").decode(Uint8Array.from(bytes.slice(8))))];
        checkSafe(Uint8Array.from(bytes));
      }),
      { numRuns: 2000 },
    );
  });

  test("digits changed, so that sizes and offsets disagree", () => {
    const digits = [...good.keys()].filter((i) => i >= 8 && (good[i] ?? 0) >= 0x30 && (good[i] ?? 0) <= 0x39);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom(...digits), fc.nat(9)), { minLength: 1, maxLength: 4 }),
        (changes) => {
          const bytes = good.slice();
          for (const [at, digit] of changes) bytes[at] = 0x30 + digit;
          checkSafe(bytes);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("any description of any tensors", () => {
    const size = fc.oneof(fc.nat(8), fc.constantFrom(-1, 0.5, 2 ** 31, 2 ** 32, 2 ** 53, 1e300), fc.constant(null));
    const description = fc.record(
      {
        dtype: fc.oneof(fc.constantFrom<string>(...DTYPES), fc.string()),
        shape: fc.oneof(fc.array(size, { maxLength: 4 }), fc.jsonValue()),
        data_offsets: fc.oneof(fc.array(size, { minLength: 2, maxLength: 2 }), fc.jsonValue()),
      },
      { requiredKeys: [] },
    );
    const names = fc.oneof(fc.string(), fc.constantFrom("a", "b", "__proto__", "__metadata__"));
    fc.assert(
      fc.property(
        fc.dictionary(names, fc.oneof(description, fc.jsonValue()), { maxKeys: 4 }),
        fc.nat(40),
        (object, rest) => {
          checkSafe(fileBytes(object, data(rest)));
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("any length field", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (length) => {
        const bytes = good.slice();
        new DataView(bytes.buffer).setBigUint64(0, length, true);
        checkSafe(bytes);
      }),
      { numRuns: 500 },
    );
  });

  test("a file cut anywhere is refused", async () => {
    for (let length = 0; length < good.length; length++) {
      expect((await refusalOf(() => parse(good.subarray(0, length)))).code).toBe("format");
    }
    expect(parse(good).tensors).toHaveLength(3);
  });
});
