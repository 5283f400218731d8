import { ptr } from "bun:ffi";
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { Heaps } from "./heap.ts";

/** The flags that the kernel has for the mapping that holds this address (proc(5): VmFlags). */
function flagsAt(address: number): readonly string[] {
  let holds = false;
  for (const line of readFileSync("/proc/self/smaps", "utf8").split("\n")) {
    const [, start, end] = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line) ?? [];
    if (start !== undefined && end !== undefined) holds = parseInt(start, 16) <= address && address < parseInt(end, 16);
    if (holds && line.startsWith("VmFlags:")) return line.split(/\s+/);
  }
  throw new Error("no mapping has this address");
}

test.if(existsSync("/sys/kernel/mm/transparent_hugepage") && existsSync("/proc/self/smaps"))(
  "heaps may have huge pages, also where they grew",
  () => {
    const heaps = new Heaps({ reserved: 2 ** 16, bytes: 2 ** 28, count: 2 });
    heaps.take("weights", 2 ** 24);
    heaps.take("more", 2 ** 24, { heap: 1 });
    for (const { buffer } of heaps.memories) {
      const bytes = new Uint8Array(buffer);
      expect(bytes.length).toBeGreaterThan(2 ** 24);
      expect(flagsAt(ptr(bytes))).toContain("hg");
      expect(flagsAt(ptr(bytes) + bytes.length - 1)).toContain("hg");
    }
  },
);
