import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { sharedCode } from "./choose.ts";
import { nativeCode, shareCode } from "./on-demand.ts";
import { CODES } from "./testing/codes.ts";

/** Every routine, the one that JavaScript calls first. */
const routines = (places: Int32Array) => Array.from({ length: places.length - 1 }, (_, routine) => routine);

/** What the system says of pages that hold an address. */
function rightsAt(address: number): string | undefined {
  for (const line of readFileSync("/proc/self/maps", "utf8").split("\n")) {
    const [, from = "", to = "", rights] = /^(\w+)-(\w+) (\S+)/.exec(line) ?? [];
    if (address >= Number(`0x${from}`) && address < Number(`0x${to}`)) return rights;
  }
  return undefined;
}

test.skipIf(process.platform !== "linux").each(CODES)("pages are written, then run, and never both: %s", (code) => {
  const shared = shareCode(sharedCode(code));
  const native = nativeCode(shared);
  for (const routine of routines(shared.places)) {
    const at = native.addressOf(routine);
    expect(rightsAt(at)).toBe("r-xp");
    expect(native.addressOf(routine)).toBe(at);
  }
  expect(rightsAt(shared.address)).toBe("rw-p");
  // There is room to spare.
  expect(shared.places.at(-1)).toBeLessThanOrEqual(shared.bytes / 2);
});

/** A thread that asks for every routine, and says where they are. */
const PROGRAM = `
  import { nativeCode } from ${JSON.stringify(`${import.meta.dir}/on-demand.ts`)};
  self.onmessage = ({ data: { shared, start } }) => {
    const native = nativeCode(shared);
    Atomics.add(start, 0, 1);
    while (Atomics.load(start, 0) < 2);
    postMessage(Array.from({ length: shared.places.length - 1 }, (_, routine) => native.addressOf(routine)));
  };`;

test.each(CODES)("threads that ask for a routine at once share one: %s", async (code) => {
  const shared = shareCode(sharedCode(code));
  const start = new Int32Array(new SharedArrayBuffer(4));
  const program = URL.createObjectURL(new Blob([PROGRAM], { type: "text/javascript" }));
  const workers = [new Worker(program), new Worker(program)];
  const found = await Promise.all(
    workers.map((worker) => {
      const { promise, resolve } = Promise.withResolvers<number[]>();
      worker.addEventListener("message", ({ data }: MessageEvent<number[]>) => resolve(data));
      worker.postMessage({ shared, start });
      return promise;
    }),
  );
  for (const worker of workers) worker.terminate();
  expect(found[1]).toEqual(found[0] ?? []);
  expect(new Set(found[0]).size).toBe(shared.places.length - 1);
});

test.each(CODES)("what a thread left unfinished when it was ended is written by another: %s", (code) => {
  const shared = shareCode(sharedCode(code));
  const [left, other] = [1, 2];
  shared.places[left] = -1;
  const native = nativeCode(shared);
  expect(native.addressOf(left)).not.toBe(native.addressOf(other));
  expect(shared.places[left]).toBeGreaterThan(0);
});

test.each(CODES)(
  "who has taken over is waited for as well, so that not all write the same at once: %s",
  async (code) => {
    const shared = shareCode(sharedCode(code));
    const start = new Int32Array(new SharedArrayBuffer(4));
    const program = URL.createObjectURL(new Blob([PROGRAM], { type: "text/javascript" }));
    const takenOver = 0;
    shared.places[takenOver] = -2;
    const worker = new Worker(program);
    const { promise, resolve } = Promise.withResolvers<number[]>();
    worker.addEventListener("message", ({ data }: MessageEvent<number[]>) => resolve(data));
    worker.postMessage({ shared, start });
    while (Atomics.load(start, 0) === 0) await Bun.sleep(1);
    Atomics.add(start, 0, 1);
    await Bun.sleep(100);
    const written = shared.bytes / 2;
    Atomics.store(shared.places, takenOver, written);
    Atomics.notify(shared.places, takenOver);
    const found = await promise;
    worker.terminate();
    expect(found[takenOver]).toBe(shared.address + written);
  },
);
