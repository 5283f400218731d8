// A heap for tests of machine code, which has no bounds checks: what lies in it ends, or begins, beside pages that cannot be read.
import { type Pointer, ptr } from "bun:ffi";
import { readFileSync } from "node:fs";
import { openLibc } from "../../../../files/libc.ts";
import modulePath from "../../kernels.wasm" with { type: "file" };
import type { ModuleParts, NativeHeap } from "../caller.ts";
import { modulePartsOf } from "../kernels/index.ts";

const [PAGE, WASM_PAGE] = [4096, 2 ** 16];
const [PROT_NONE, PROT_READ_WRITE] = [0, 3];

/** Which end of a part touches an unreadable page. */
export type Edge = "begin" | "end";

const module = new WebAssembly.Module(readFileSync(modulePath));
const libc = openLibc({
  mprotect: { args: ["ptr", "u64", "i32"], returns: "i32" },
});

interface Instance {
  readonly memory: WebAssembly.Memory;
  readonly exports: Readonly<Record<string, unknown>>;
}

/** Memories with the module on them, by pages, that no heap has now: to make one for every product takes longer than the product. */
const idle = new Map<number, Instance[]>();

function instanceOf(pages: number): Instance {
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  return { memory, exports: new WebAssembly.Instance(module, { env: { memory } }).exports };
}

/** Parts of a WebAssembly memory with guard pages between them, on which the module computes, too. */
export class GuardedHeap implements NativeHeap, Disposable {
  readonly address: Pointer;
  readonly #instance: Instance;
  readonly #words: Uint32Array<ArrayBuffer>;
  #next = PAGE;

  constructor(bytes: number) {
    const pages = Math.ceil(bytes / WASM_PAGE);
    this.#instance = idle.get(pages)?.pop() ?? instanceOf(pages);
    this.#words = new Uint32Array(this.memory.buffer);
    this.address = ptr(this.#words);
    this.#protect(0, pages * WASM_PAGE, PROT_NONE);
  }

  get memory(): WebAssembly.Memory {
    return this.#instance.memory;
  }

  /** The module's functions on it. */
  get exports(): Readonly<Record<string, unknown>> {
    return this.#instance.exports;
  }

  /** What kernels of machine code leave to the module. */
  get parts(): ModuleParts {
    return modulePartsOf(this.exports);
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

  /** Room for so many bytes of zeros, in bytes from the heap's begin; a page that nobody may touch is on both sides of its pages. */
  part(bytes: number, edge: Edge): number {
    const pages = Math.max(1, Math.ceil(bytes / PAGE)) * PAGE;
    const at = this.#next;
    this.#next += pages + PAGE;
    if (this.#next > this.memory.buffer.byteLength) throw new Error("the test's heap is too small");
    this.#protect(at, pages, PROT_READ_WRITE);
    this.#words.fill(0, at / 4, (at + pages) / 4);
    return edge === "begin" ? at : at + pages - bytes;
  }

  /** The memory is the next heap's. */
  [Symbol.dispose](): void {
    const bytes = this.memory.buffer.byteLength;
    this.#protect(0, bytes, PROT_READ_WRITE);
    const pages = bytes / WASM_PAGE;
    idle.set(pages, [...(idle.get(pages) ?? []), this.#instance]);
  }

  #protect(at: number, bytes: number, how: number): void {
    if (libc?.mprotect((this.address + at) as Pointer, BigInt(bytes), how) !== 0) throw new Error("mprotect");
  }
}
