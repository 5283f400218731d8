import fc from "fast-check";
import { expect, test } from "bun:test";
import { BLOCK_ROWS } from "../../compute/device/families/delta.ts";
import { splitRows } from "./stored-weight.ts";

test("blocks cover every row once, start at whole tiles, and hold about 4 MB, or two tiles of long rows", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20_000 }), fc.integer({ min: 4, max: 200_000 }), (rows, rowBytes) => {
      const blocks = splitRows(rows, rowBytes);
      let next = 0;
      for (const block of blocks) {
        expect(block.firstRow).toBe(next);
        expect(block.firstRow % BLOCK_ROWS).toBe(0);
        expect(block.rows).toBeGreaterThan(0);
        expect(block.rows <= 2 * BLOCK_ROWS || block.rows * rowBytes <= 4 * 2 ** 20).toBe(true);
        next += block.rows;
      }
      expect(next).toBe(rows);
    }),
    { numRuns: 200 },
  );
});

test("a small matrix is one block, a large one several", () => {
  expect(splitRows(64, 256)).toEqual([{ firstRow: 0, rows: 64 }]);
  expect(splitRows(1000, 16_384)).toEqual(
    [0, 384, 768].map((firstRow) => ({ firstRow, rows: Math.min(384, 1000 - firstRow) })),
  );
});
