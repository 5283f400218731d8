import { expect, test } from "bun:test";
import { quantizedText } from "./quantized.ts";

test("bytes of quantized weights, and of the same in the checkpoint where these are others", () => {
  expect(quantizedText({ dtype: "Q8_0", bytes: 1.2e6, stored: 2.2e6 })).toBe("1.20 MB in Q8_0 (2.20 MB as stored)");
  expect(quantizedText({ dtype: "Q8_0", bytes: 719_000, stored: 719_000 })).toBe("719 kB in Q8_0, as stored");
});
