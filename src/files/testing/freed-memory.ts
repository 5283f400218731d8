// Run by freed-memory.test.ts as a process of its own, since where malloc finds room depends on all that was freed before.
// Prints whether a large piece has a mapping of its own, which goes when it is freed.
import { dlopen, type Pointer, read } from "bun:ffi";
import { returnLargePieces } from "../freed-memory.ts";

const { symbols } = dlopen("libc.so.6", {
  malloc: { args: ["usize"], returns: "ptr" },
  free: { args: ["ptr"], returns: "void" },
});

function piece(size: number): Pointer {
  const pointer = symbols.malloc(size);
  if (typeof pointer !== "number") throw new Error("no memory");
  return pointer;
}

/** glibc says so in bit 1 of a piece's size, which stands before it. */
const hasOwnMapping = (pointer: Pointer): boolean => (read.u64(pointer, -8) & 2n) !== 0n;

if (process.argv[2] === "return") returnLargePieces();
symbols.free(piece(24 << 20)); // by itself glibc keeps pieces of up to this size from now on
process.stdout.write(`${hasOwnMapping(piece(20 << 20))}\n`);
