/*
 * How fast this machine reads memory: two workers each look for a byte that is not there (memchr, with the processor's widest
 * loads) in memory far larger than the caches. Nothing is written.
 */
import { once } from "node:events";
import { isMainThread, parentPort, Worker } from "node:worker_threads";

const BYTES = 256 * 2 ** 20;
const TIMES = 4;

/** Bytes a second that `workers` threads read together, the best of three tries. */
export async function readBandwidth(workers: number): Promise<number> {
  const threads = Array.from({ length: workers }, () => new Worker(new URL(import.meta.url)));
  try {
    await Promise.all(threads.map((thread) => ask(thread)));
    let best = 0;
    for (let attempt = 0; attempt < 3; attempt++) {
      const begin = performance.now();
      await Promise.all(threads.map((thread) => ask(thread)));
      best = Math.max(best, (workers * BYTES * TIMES * 1000) / (performance.now() - begin));
    }
    return best;
  } finally {
    await Promise.all(threads.map((thread) => thread.terminate()));
  }
}

/** One scan of everything that a worker holds. */
async function ask(thread: Worker): Promise<void> {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  thread.postMessage("scan");
  await once(thread, "message");
}

if (!isMainThread && parentPort !== null) {
  const port = parentPort;
  const memory = Buffer.alloc(BYTES, 1);
  port.on("message", () => {
    for (let time = 0; time < TIMES; time++) {
      if (memory.indexOf(2) !== -1) throw new Error("found what is not there");
    }
    port.postMessage("done");
  });
}
