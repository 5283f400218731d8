// A heap for tests of machine code, which has no bounds checks: what lies in it ends, or begins, beside pages that cannot be read.
import { type Pointer, toArrayBuffer } from "bun:ffi";
import { openLibc } from "../../../../files/libc.ts";
import type { NativeHeap } from "../caller.ts";

const PAGE = 4096;
const [PROT_NONE, PROT_READ_WRITE] = [0, 3];
const MAP_PRIVATE_ANONYMOUS = 0x22;

/** Which end of a part touches an unreadable page. */
export type Edge = "begin" | "end";

const libc = openLibc({
  mmap: { args: ["ptr", "u64", "i32", "i32", "i32", "i64"], returns: "ptr" },
  mprotect: { args: ["ptr", "u64", "i32"], returns: "i32" },
  munmap: { args: ["ptr", "u64"], returns: "i32" },
});

/** Parts of memory with guard pages between them. */
export class GuardedHeap implements NativeHeap, Disposable {
  readonly address: Pointer;
  readonly #bytes: number;
  readonly #words: Uint32Array<ArrayBuffer>;
  #next = PAGE;

  constructor(bytes: number) {
    this.#bytes = bytes;
    const pages = libc?.mmap(null, BigInt(bytes), PROT_NONE, MAP_PRIVATE_ANONYMOUS, -1, 0n);
    if (typeof pages !== "number" || pages < PAGE) throw new Error("no memory for a test");
    this.address = pages;
    this.#words = new Uint32Array(toArrayBuffer(pages, 0, bytes));
  }

  words(): Uint32Array<ArrayBuffer> {
    return this.#words;
  }

  get floats(): Float32Array<ArrayBuffer> {
    return new Float32Array(this.#words.buffer);
  }

  get halves(): Uint16Array<ArrayBuffer> {
    return new Uint16Array(this.#words.buffer);
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#words.buffer);
  }

  /** Room for so many bytes, in bytes from the heap's begin; a page that nobody may touch is on both sides of its pages. */
  part(bytes: number, edge: Edge): number {
    const pages = Math.max(1, Math.ceil(bytes / PAGE)) * PAGE;
    const at = this.#next;
    this.#next += pages + PAGE;
    if (this.#next > this.#bytes) throw new Error("the test's heap is too small");
    if (libc?.mprotect((this.address + at) as Pointer, BigInt(pages), PROT_READ_WRITE) !== 0)
      throw new Error("mprotect");
    return edge === "begin" ? at : at + pages - bytes;
  }

  [Symbol.dispose](): void {
    libc?.munmap(this.address as Pointer, BigInt(this.#bytes));
  }
}
