// Run by supervise.test.ts as a process of its own: `bun testing/checking.ts MODE`. Checks a broken CPU device, or one that
// hangs, ends its process, is lost or writes on standard output in the second check.
import { mkdtempSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CpuDevice } from "../../../../compute/cpu/cpu.ts";
import { RandloraError } from "../../../../files/errors.ts";
import type { Check } from "../check.ts";
import { FROM_VARIABLE } from "../supervise.ts";
import { say, work, opChecks } from "../work.ts";
import { broken, withoutBias } from "./broken.ts";

const [mode = ""] = process.argv.slice(2);

const ENDINGS: Readonly<Record<string, () => void>> = {
  hang: () => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0),
  chatter: () => void writeSync(1, "driver: warning\n{}\n"),
  crash: () => process.kill(process.pid, "SIGSEGV"),
  lose() {
    throw new RandloraError("gpu", "the GPU was lost (unknown): /opt/somebody/driver.so", "close other programs");
  },
};

function ending(check: Check, at: number): Check {
  return { ...check, run: at === 1 && ENDINGS[mode] ? async () => (ENDINGS[mode]?.(), {}) : check.run.bind(check) };
}

// What a process that is killed leaves.
mkdtempSync(join(tmpdir(), "left-"));
if (mode === "refuse") throw new TypeError("no device");
const products = opChecks().filter(({ op, format }) => op === "linear" && format === "Q8_0");
await work(
  async () => {
    const device = await CpuDevice.open({ threads: 1 });
    return mode === "break" ? broken(device, withoutBias) : device;
  },
  products.map(ending),
  Number(process.env[FROM_VARIABLE]),
  say,
  new AbortController().signal,
);
