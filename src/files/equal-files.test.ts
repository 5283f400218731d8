import { expect, test } from "bun:test";
import { TemporaryFolder } from "./testing/folder.ts";
import { haveSameBytes } from "./equal-files.ts";

test.each([
  ["empty", 0, undefined, true],
  ["of one block and a half", 1_500_000, undefined, true],
  ["that differ in their last byte", 1_500_000, 1_499_999, false],
  ["that differ in their first byte", 8, 0, false],
])("files %s", async (_, size, changed, same) => {
  await using folder = await TemporaryFolder.create();
  const bytes = Uint8Array.from({ length: size }, (__, i) => i * 31);
  await Bun.write(folder.at("a"), bytes);
  if (changed !== undefined) bytes[changed] = (bytes[changed] ?? 0) ^ 1;
  await Bun.write(folder.at("b"), bytes);
  expect(haveSameBytes(folder.at("a"), folder.at("b"))).toBe(same);
  await Bun.write(folder.at("longer"), new Uint8Array([...bytes, 0]));
  expect(haveSameBytes(folder.at("b"), folder.at("longer"))).toBe(false);
});
