import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { RandloraError } from "../../files/errors.ts";
import { refusalOf } from "../../files/testing/folder.ts";
import { decodeImage } from "./decode.ts";
import { bytesOf, digest, expected } from "./testing/expected.ts";

const kinds = Object.entries(expected.decoded);

describe("decodeImage", () => {
  test.each(kinds)("reads %s as Pillow does", async (name, { size, pixels, upright }) => {
    const image = await decodeImage(bytesOf(name), name, { upright: false });
    expect([image.width, image.height]).toEqual(size);
    expect(digest(image.data)).toBe(pixels);
    expect(digest((await decodeImage(bytesOf(name), name, { upright: true })).data)).toBe(upright);
  });

  test("has images that are turned in all eight ways", () => {
    const turned = kinds.filter(([name]) => name.startsWith("turned-"));
    expect(turned.length).toBeGreaterThanOrEqual(12);
    expect(new Set(turned.map(([, { upright }]) => upright)).size).toBeGreaterThanOrEqual(11);
  });

  test.each(expected.refused)("refuses %s in one line that names it", async (name) => {
    const refusal = await refusalOf(() => decodeImage(bytesOf(name), name, { upright: true }));
    expect(refusal.code).toBe("format");
    expect(refusal.message).toStartWith(`${name}: `);
    expect(refusal.message).not.toContain("\n");
    expect(refusal.message).toContain(
      name.startsWith("film") ? "animated" : name.startsWith("checksum") ? "checksum" : "cut short",
    );
  });

  test("refuses too many pixels by the header alone", async () => {
    for (const [width, height, ok] of [
      [10_000, 10_000, true],
      [10_000, 10_001, false],
      [65_535, 65_535, false],
    ] as const) {
      const refusal = await refusalOf(() => decodeImage(hugePpm(width, height), "huge.ppm", { upright: true }));
      expect(refusal.message).toContain(ok ? "cut short" : "more than 100,000,000");
    }
    const refusal = await refusalOf(() => decodeImage(hugePng(20_000, 20_000), "huge.png", { upright: true }));
    expect(refusal.message).toBe("huge.png: 20000 × 20000 pixels: more than 100,000,000");
  });

  test("refuses a JPEG whose scans have no end: each would take the time of all pixels", async () => {
    const bytes = Buffer.from(bytesOf("420-progressive.jpg"));
    const last = bytes.lastIndexOf(Buffer.from([0xff, 0xda]));
    const withScans = (more: number) => {
      const scan = bytes.subarray(last, -2);
      return Buffer.concat([bytes.subarray(0, -2), ...Array<Buffer>(more).fill(scan), bytes.subarray(-2)]);
    };
    // Ten are in the file.
    expect(await decodeImage(withScans(90), "x.jpg", { upright: true })).toMatchObject({ width: expect.any(Number) });
    const refusal = await refusalOf(() => decodeImage(withScans(91), "x.jpg", { upright: true }));
    expect(refusal.message).toBe("x.jpg: not a JPEG that can be read: more than 100 scans");
  });

  test("refuses what is no image", async () => {
    for (const text of ["", "hello", "BM", "P6", "GIF89a", "RIFF....WEBP", "\xff\xd8\xff"]) {
      const refusal = await refusalOf(() => decodeImage(Buffer.from(text, "latin1"), "x", { upright: true }));
      expect(refusal.code).toBe("format");
    }
  });

  // Bytes that are changed may give another image, or a refusal, but nothing else.
  test("survives changed and missing bytes", async () => {
    const names = [
      "420.jpg",
      "420-progressive.jpg",
      "palette-alpha.png",
      "grey-16-bits-interlaced.png",
      "lossy-alpha.webp",
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...names, "transparent.gif", "grey.pgm", "turned-3-big-endian.jpg"),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
        fc.option(fc.nat()),
        async (name, changes, length) => {
          const whole = bytesOf(name);
          const bytes = whole.slice(0, length === null ? whole.length : length % whole.length);
          for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
          try {
            const { width, height, data } = await decodeImage(bytes, name, { upright: true });
            expect(data.length).toBe(width * height * 3);
          } catch (thrown) {
            expect(thrown).toBeInstanceOf(RandloraError);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

function hugePpm(width: number, height: number): Uint8Array {
  return Buffer.from(`P6 ${width} ${height} 255\n...`);
}

/** A PNG whose header claims a size. */
function hugePng(width: number, height: number): Uint8Array {
  const bytes = bytesOf("rgb.png").slice();
  const view = new DataView(bytes.buffer);
  view.setUint32(16, width);
  view.setUint32(20, height);
  view.setUint32(29, Bun.hash.crc32(bytes.subarray(12, 29)));
  return bytes;
}
