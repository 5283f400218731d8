import { expect, test } from "bun:test";
import fc from "fast-check";
import { repitched } from "./repitch.ts";

test("rows keep their bytes, and get zeros behind them or lose what was there", () => {
  const size = fc.integer({ min: 1, max: 9 });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 5 }), size, size, (rows, from, to) => {
      const bytes = Uint8Array.from({ length: rows * from }, (_, at) => at + 1);
      const found = repitched(bytes, rows, from, to);
      expect(found.length).toBe(rows * to);
      found.forEach((byte, at) => {
        const [row, col] = [Math.floor(at / to), at % to];
        expect(byte).toBe(col < from ? row * from + col + 1 : 0);
      });
      if (from === to) expect(found).toBe(bytes);
    }),
  );
});
