import { expect, test } from "bun:test";
import fc from "fast-check";
import { decodeUtf8 } from "./utf8.ts";

/** The offset in the message; undefined when the bytes are fine. */
function badOffset(bytes: readonly number[]): number | undefined {
  try {
    decodeUtf8(Uint8Array.from(bytes), "f");
    return undefined;
  } catch (error) {
    return Number(/at offset (\d+)$/.exec(error instanceof Error ? error.message : "")?.[1]);
  }
}

test("takes bytes as they are", () => {
  const text = "\ufeffa\r\nb\0c\r😀";
  expect(decodeUtf8(new TextEncoder().encode(text), "f")).toBe(text);
});

test("names the byte and where it is", () => {
  expect(() => decodeUtf8(Uint8Array.of(0x61, 0xff, 0x62), "x.txt")).toThrow("x.txt: not UTF-8: byte 0xff at offset 1");
});

test("knows UTF-16 by its mark", () => {
  for (const [mark, encoding] of [
    [[0xff, 0xfe], "UTF-16"],
    [[0xfe, 0xff], "UTF-16"],
    [[0xe9, 0x61], "LATIN1"],
  ] as const) {
    expect(() => decodeUtf8(Uint8Array.of(...mark, 0x61), "x")).toThrow(
      expect.objectContaining({ hint: expect.stringContaining(`iconv -f ${encoding} -t UTF-8`) }),
    );
  }
});

// Python: bytes.decode() raises UnicodeDecodeError with these values of `start`.
test.each([
  [[0x80], 0],
  [[0x61, 0x62, 0xc3], 2],
  [[0xc3, 0xa9, 0xa9], 2],
  [[0x61, 0xe4, 0xb8], 1],
  [[0x61, 0xe4, 0xb8, 0x62], 1],
  [[0x61, 0xf0, 0x9f, 0x98], 1],
  [[0xc0, 0x80], 0], // overlong
  [[0x61, 0xed, 0xa0, 0x80], 1], // a surrogate
  [[0x61, 0xf4, 0x90, 0x80, 0x80], 1], // beyond U+10FFFF
])("%j is wrong at %d", (bytes, offset) => {
  expect(badOffset(bytes)).toBe(offset);
});

test("finds the end of the longest good text", () => {
  const good = fc.string({ unit: "binary", maxLength: 40 });
  const bad = fc.constantFrom([0xff], [0xc3, 0x28], [0xe4, 0xb8], [0x80], [0xf0, 0x9f, 0x98], [0xed, 0xa0, 0x80]);
  fc.assert(
    fc.property(good, bad, (head, tail) => {
      const bytes = [...new TextEncoder().encode(head)];
      expect(badOffset(bytes)).toBeUndefined();
      expect(badOffset([...bytes, ...tail, 0x61])).toBe(bytes.length);
    }),
    { numRuns: 200 },
  );
});
