import { dlopen, type Pointer, read } from "bun:ffi";
import { expect, test } from "bun:test";
import { returnFreedMemory, returnLargePieces, returnUnpackedFile } from "./freed-memory.ts";

const hasGlibc =
  process.platform === "linux" && "glibcVersionRuntime" in Object(Object(process.report?.getReport()).header);

/** glibc marks a piece that has a mapping of its own, which goes when it is freed, in bit 1 of its size. */
function hasOwnMapping(piece: Pointer): boolean {
  return (read.u64(piece, -8) & 2n) !== 0n;
}

test.skipIf(!hasGlibc)("large pieces go back to the system when they are freed, however many there were before", () => {
  const { symbols } = dlopen("libc.so.6", {
    malloc: { args: ["usize"], returns: "ptr" },
    free: { args: ["ptr"], returns: "void" },
  });
  const piece = (size: number): Pointer => {
    const pointer = symbols.malloc(size);
    if (typeof pointer !== "number") throw new Error("no memory");
    return pointer;
  };
  returnLargePieces();
  symbols.free(piece(8 << 20)); // by itself glibc would keep pieces of up to this size from now on
  const second = piece(4 << 20);
  expect(hasOwnMapping(second)).toBe(true);
  symbols.free(second);
});

test("freed memory can be given back at any time", () => {
  returnFreedMemory();
  returnFreedMemory();
});

test("the program goes on without the pages of its file that it has given back", () => {
  for (let i = 0; i < 3; i++) returnUnpackedFile();
  expect(JSON.parse('{"a": [1, 2]}')).toEqual({ a: [1, 2] });
});
