import { linkSymbols, type Pointer } from "bun:ffi";
import { Arm64Machine } from "./arm64-machine.ts";
import type { Code } from "./caller.ts";
import type { Machine } from "./machine.ts";
import { makeExecutable, NoPages, PAGE, wholePages, writablePages } from "./pages.ts";
import { ENTER, program, type Program } from "./program.ts";
import { wasmModule } from "./wasm-code.ts";
import { WasmMachine } from "./wasm-machine.ts";
import { X64Machine } from "./x64-machine.ts";

/** Code of our own, by what it needs of a processor. */
export interface Processor {
  readonly code: "neon" | "avx2" | "avx512";
  /** With AVX-512: products of pairs are added in one instruction. */
  readonly vnni: boolean;
}

/** What the threads of a process share of machine code, for good: nobody knows when the last call has returned. */
export interface SharedCode extends Processor {
  readonly address: number;
  readonly bytes: number;
  /** Where each routine begins, in bytes from there; then how many bytes are taken. */
  readonly places: Int32Array<SharedArrayBuffer>;
}

/**
 * Of a routine that nobody has asked for, and of one that a thread writes just now; a number below that where another took over from
 * one that had been ended at it. Byte 0 is left out for them.
 */
const [NOT_WRITTEN, IN_WORK] = [0, -1];
/** A routine is written within milliseconds, on a machine with much else to do within some tens. */
const PATIENCE = 1000;
/** Pages for each routine, in the mean. */
const MEAN_PAGES = 4;

/**
 * Calls of a thread between two collections of its garbage, a hundred bytes or so a call. By itself the collector would wait
 * for as much garbage as there is memory, and counts the heap, which is every thread's, as each one's own. Takes a millisecond.
 */
const COLLECTED_CALLS = 2 ** 16;

/** Machine code as a thread sees it. */
export interface NativeCode extends Code {
  /** Where a routine lies. It is written when it is first asked for, by whichever thread that is. @throws NoPages */
  addressOf(routine: number): Pointer;
}

/** @throws NoPages */
export function shareCode(processor: Processor): SharedCode {
  const { count } = programFor(processor);
  const bytes = count * MEAN_PAGES * PAGE;
  const places = new Int32Array(new SharedArrayBuffer((count + 1) * 4));
  places[count] = PAGE;
  return { ...processor, address: writablePages(bytes), bytes, places };
}

export function nativeCode(shared: SharedCode): NativeCode {
  const { address, bytes, places } = shared;
  const { count, write, ...rest } = programFor(shared);
  const place = (routine: number): number => {
    const code = write(routine);
    const at = Atomics.add(places, count, wholePages(code.length));
    if (at + code.length > bytes) throw new NoPages("no executable memory: all of it is taken");
    makeExecutable((address + at) as Pointer, code);
    return at;
  };
  const claim = (routine: number): number => {
    for (;;) {
      const seen = Atomics.compareExchange(places, routine, NOT_WRITTEN, IN_WORK);
      if (seen > 0) return seen;
      if (seen !== NOT_WRITTEN) {
        if (Atomics.wait(places, routine, seen, PATIENCE) !== "timed-out") continue;
        // A thread may have been ended at work: then one of those that wait writes the same, and the others wait for that one.
        if (Atomics.compareExchange(places, routine, seen, seen - 1) !== seen) continue;
      }
      let at = NOT_WRITTEN;
      try {
        return (at = place(routine));
      } finally {
        Atomics.store(places, routine, at);
        Atomics.notify(places, routine);
      }
    }
  };
  return {
    ...rest,
    addressOf(routine) {
      const at = places[routine] ?? NOT_WRITTEN;
      return (address + (at > 0 ? at : claim(routine))) as Pointer;
    },
    enterOn(heap) {
      const { symbols } = linkSymbols({
        enter: { ptr: this.addressOf(ENTER), args: ["ptr", "u32", "ptr"], returns: "void" },
      });
      const begin = heap.address;
      let calls = 0;
      return (list, routine) => {
        symbols.enter(begin, list, this.addressOf(routine));
        if (++calls === COLLECTED_CALLS) {
          calls = 0;
          Bun.gc(true);
        }
      };
    },
  };
}

function programFor(processor: Processor): Program {
  const { machine, enter } = machineOf(processor);
  return program(machine, enter);
}

/** What writes code, and what JavaScript calls. */
export function machineOf({ code, vnni }: Processor): { readonly machine: Machine; readonly enter: () => void } {
  if (code === "neon") {
    const machine = new Arm64Machine();
    return { machine, enter: () => machine.enter() };
  }
  const machine = new X64Machine(code === "avx2" ? 8 : 16, vnni);
  return { machine, enter: () => machine.enter(process.platform === "win32") };
}

/** Routines of WebAssembly: a thread makes a module of each that it calls, when it first does. */
function makeRoutines(): Code {
  const { count: _, write, ...rest } = program(new WasmMachine(), () => {});
  const modules: WebAssembly.Module[] = [];
  return {
    ...rest,
    enterOn({ memory }) {
      const functions: ((list: number) => void)[] = [];
      const made = (routine: number) => {
        const module = (modules[routine] ??= new WebAssembly.Module(wasmModule([write(routine)])));
        const { exports } = new WebAssembly.Instance(module, { env: { memory } });
        return exports["0"] as (list: number) => void;
      };
      return (list, routine) => (functions[routine] ??= made(routine))(list);
    },
  };
}

let known: Code | undefined;

export function wasmRoutines(): Code {
  return (known ??= makeRoutines());
}
