import { closeSync, fstatSync, openSync, readSync } from "node:fs";

const BLOCK = 2 ** 20;

/** Do two files hold the same bytes? Only as much is read as they have in common. @throws the system's errors */
export function haveSameBytes(a: string, b: string): boolean {
  const files: number[] = [];
  try {
    for (const path of [a, b]) files.push(openSync(path, "r"));
    const [size = 0, other] = files.map((file) => fstatSync(file).size);
    if (size !== other) return false;
    const blocks = files.map(() => Buffer.alloc(Math.min(BLOCK, size)));
    for (let at = 0; at < size; at += BLOCK) {
      const [ours, theirs] = files.map((file, i) => readFully(file, blocks[i], at));
      if (ours === undefined || theirs === undefined || !ours.equals(theirs)) return false;
    }
    return true;
  } finally {
    for (const file of files) closeSync(file);
  }
}

function readFully(file: number, block: Buffer | undefined, at: number): Buffer | undefined {
  if (block === undefined) return undefined;
  for (let length = 0; length < block.length;) {
    const read = readSync(file, block, length, block.length - length, at + length);
    if (read === 0) return block.subarray(0, length);
    length += read;
  }
  return block;
}
