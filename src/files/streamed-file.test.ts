import { expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { DIRECT_BYTES, StreamedFile } from "./streamed-file.ts";
import { refusalOf, TemporaryFolder } from "./testing/folder.ts";
import { runToEnd } from "./testing/process.ts";

/** Where files past the page cache are to be had. */
await using probe = await TemporaryFolder.create();
const isDirect = await StreamedFile.create(probe.at("x"), DIRECT_BYTES).then(async (file) => {
  await file.close();
  return file.isDirect;
});

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

test.skipIf(!isDirect)(
  "stretches that are written beside what follows are in their places, and what fails there ends the file",
  async () => {
    await using folder = await TemporaryFolder.create();
    const path = folder.at("x");
    const bytes = new Uint8Array(COUNT * BYTES).map((_, at) => at * 31 + (at >> 12));
    const ends = [0, 3, 4_000_001, 4_777_777, 4_785_970, COUNT * BYTES];
    for (const isFailing of [false, true]) {
      const file = await StreamedFile.create(path, DIRECT_BYTES);
      const write = async (): Promise<void> => {
        for (const [at, end] of ends.slice(1).entries()) {
          const some = bytes.subarray(ends[at], end);
          const read = async (out: Uint8Array, from: number): Promise<void> => {
            await Bun.sleep(1);
            if (isFailing && from > 2 ** 21 && out.length > 4096) throw new Error("no more");
            out.set(some.subarray(from, from + out.length));
          };
          // Each second one: of two pieces, and of a single block.
          if (at % 2 === 0) await file.append(some);
          else await file.appendBeside(some.length, read);
          expect(file.written).toBe(end);
        }
        await expect(file.appendBeside(4096, async () => {})).rejects.toThrow("4096 bytes have no whole block");
      };
      if (isFailing) {
        // By what is appended behind it, though nothing is finished.
        const appended = write().then(async () => {
          for (let at = 0; at < 100; at++) await file.append(bytes.subarray(0, 2 ** 20));
        });
        await expect(appended).rejects.toThrow("no more");
      } else {
        await write();
        await file.finish();
      }
      await file.close();
      if (!isFailing) expect((await readFile(path)).equals(bytes)).toBe(true);
    }
  },
);

test("a file that was begun can be closed at any moment", async () => {
  await using folder = await TemporaryFolder.create();
  const file = await StreamedFile.create(folder.at("x"), DIRECT_BYTES);
  await file.append(new Uint8Array(3 * 2 ** 20));
  if (file.isDirect) await file.appendBeside(2 ** 30, async (out) => void out.fill(1));
  await file.close();
});

const linux = test.skipIf(process.platform !== "linux");

linux("a place that takes nothing is named, whether or not writes are past the page cache", async () => {
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

test.skipIf(process.platform === "win32")("a limit on the size of a process's files is said", async () => {
  await using folder = await TemporaryFolder.create();
  const module = JSON.stringify(join(import.meta.dir, "streamed-file.ts"));
  const code = `
    const { StreamedFile } = await import(${module});
    const file = await StreamedFile.create(${JSON.stringify(folder.at("x"))}, 0);
    await file.append(new Uint8Array(2 ** 21)).catch(({ message, hint }) => process.stdout.write(message + "\\n" + hint));
  `;
  const limited = ["bash", "-c", 'ulimit -f 1000; exec "$@"', "bash", process.execPath, "-e", code];
  const [message, hint] = (await runToEnd(limited)).stdout.split("\n");
  expect(message).toStartWith(`cannot write ${folder.at("x")}: the file would be larger than`);
  expect([message, hint]).toEqual([expect.stringContaining("(ulimit -f)"), expect.stringContaining("raise the limit")]);
});

test("a file that is closed holds no pieces", async () => {
  await using folder = await TemporaryFolder.create();
  const bytes = new Uint8Array(2 ** 22);
  const held = async (): Promise<StreamedFile> => {
    const file = await StreamedFile.create(folder.at("x"), DIRECT_BYTES);
    if (file.isDirect)
      await file.appendBeside(bytes.length, async (out, from) => out.set(bytes.subarray(from, from + out.length)));
    await file.finish();
    await file.close();
    return file;
  };
  Bun.gc(true);
  const before = process.memoryUsage().arrayBuffers;
  const files: StreamedFile[] = [];
  for (let at = 0; at < 8; at++) files.push(await held());
  Bun.gc(true);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(files.length * 2 ** 21);
});
