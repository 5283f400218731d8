import { expect, test } from "bun:test";
import { megabytes } from "./memory-limit.ts";

test("what is needed and what is allowed never look the same where they differ by much", () => {
  expect([100e3, 999e3, 2.1e6, 3.5e6, 4e6, 12.34e6, 210e6, 7953.4e6].map(megabytes)).toEqual(
    ["0.1", "0.999", "2.1", "3.5", "4", "12.3", "210", "7953"].map((amount) => `${amount} MB`),
  );
});
