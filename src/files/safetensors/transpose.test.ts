import { expect, test } from "bun:test";
import fc from "fast-check";
import { transpose } from "./transpose.ts";

test("element (row, col) of each matrix becomes (col, row), whatever its size and where the bytes begin; twice it is what it was", () => {
  const sizes = fc.record({
    rows: fc.integer({ min: 0, max: 70 }),
    cols: fc.integer({ min: 0, max: 70 }),
    matrices: fc.integer({ min: 1, max: 3 }),
    size: fc.constantFrom(2, 4, 8),
    at: fc.integer({ min: 0, max: 9 }),
  });
  fc.assert(
    fc.property(sizes, ({ rows, cols, matrices, size, at }) => {
      const all = Uint8Array.from({ length: at + matrices * rows * cols * size }, (_, index) => (index * 31) % 251);
      const bytes = all.subarray(at);
      const turned = transpose(bytes, rows, cols, size);
      for (let row = 0; row < matrices * rows; row++) {
        const first = Math.floor(row / rows) * rows * cols;
        for (let col = 0; col < cols; col++) {
          const [from, to] = [(row * cols + col) * size, (first + col * rows + (row % rows)) * size];
          expect(turned.subarray(to, to + size)).toEqual(bytes.subarray(from, from + size));
        }
      }
      expect(transpose(turned, cols, rows, size)).toEqual(bytes.slice());
    }),
    { numRuns: 20 },
  );
});
