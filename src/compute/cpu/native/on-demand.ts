import type { Pointer } from "bun:ffi";
import { Arm64Machine } from "./arm64-machine.ts";
import type { Machine } from "./machine.ts";
import { makeExecutable, NoPages, PAGE, wholePages, writablePages } from "./pages.ts";
import { program, type Program } from "./program.ts";
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

/** Machine code as a thread sees it. */
export interface NativeCode extends Omit<Program, "count" | "write"> {
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
