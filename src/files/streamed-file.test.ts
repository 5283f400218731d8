import { expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { DIRECT_BYTES, StreamedFile } from "./streamed-file.ts";
import { refusalOf, TemporaryFolder } from "./testing/folder.ts";

/** What is no multiple of anything, and larger than a piece. */
const [COUNT, BYTES] = [7, 777_777];

test.each([0, DIRECT_BYTES])("a file that is to have %d bytes is what was appended, in any pieces", async (size) => {
  await using folder = await TemporaryFolder.create();
  const path = folder.at("x");
  const bytes = new Uint8Array(COUNT * BYTES).map((_, at) => at * 31 + (at >> 12));
  const file = await StreamedFile.create(path, size);
  if (size === 0) expect(file.isDirect).toBe(false);
  // What is handed over may change at once.
  const handed = new Uint8Array(BYTES);
  for (let from = 0; from < bytes.length; from += BYTES) {
    handed.set(bytes.subarray(from, from + BYTES));
    await file.append(handed);
    expect(file.written).toBe(from + BYTES);
    handed.fill(0);
  }
  await file.finish();
  await file.close();
  expect((await readFile(path)).equals(bytes)).toBe(true);
});

test("a file that was begun can be closed at any moment", async () => {
  await using folder = await TemporaryFolder.create();
  const file = await StreamedFile.create(folder.at("x"), DIRECT_BYTES);
  await file.append(new Uint8Array(3 * 2 ** 20));
  await file.close();
});

test("a place that takes nothing is named, whether or not writes are past the page cache", async () => {
  if (process.platform !== "linux") return;
  for (const size of [0, DIRECT_BYTES]) {
    const file = await StreamedFile.create("/dev/full", size);
    const refused = await refusalOf(async () => {
      await file.append(new Uint8Array(5 * 2 ** 20));
      await file.finish();
    });
    expect(refused).toMatchObject({ code: "file" });
    expect(refused.message).toContain("/dev/full");
    await file.close();
  }
});
