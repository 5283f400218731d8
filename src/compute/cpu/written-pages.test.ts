import { expect, test } from "bun:test";
import fc from "fast-check";
import { SYSTEM_PAGE, WrittenPages } from "./written-pages.ts";

test("each page counts once, whatever of it is written, and how often", () => {
  const range = fc.record({
    memory: fc.nat({ max: 2 }),
    at: fc.nat({ max: 40 * SYSTEM_PAGE }),
    size: fc.nat({ max: 5 * SYSTEM_PAGE }),
  });
  fc.assert(
    fc.property(fc.array(range, { maxLength: 30 }), (ranges) => {
      const pages = new WrittenPages();
      const wanted = new Set<string>();
      for (const { memory, at, size } of ranges) {
        pages.add(memory, at, size);
        for (let byte = at; byte < at + size; byte++) wanted.add(`${memory} ${Math.floor(byte / SYSTEM_PAGE)}`);
      }
      expect(pages.bytes).toBe(wanted.size * SYSTEM_PAGE);
    }),
    { numRuns: 30, examples: [[[{ memory: 0, at: 1, size: 0 }]]] },
  );
});
