import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { signAdHoc } from "./sign-macho.ts";

/** Dawn for arm64, as Apple's linker signed it: the second file of a universal one. */
function linkerSigned(): Buffer {
  const universal = readFileSync(join(import.meta.dir, "../node_modules/webgpu/dist/darwin-universal/dawn.node"));
  const [offset, size] = [universal.readUInt32BE(36), universal.readUInt32BE(40)];
  return Buffer.from(universal.subarray(offset, offset + size));
}

test("an ad hoc signature is the linker's own, byte for byte", () => {
  const file = linkerSigned();
  const signed = signAdHoc(file, "dawn.node");
  // Differing: a library is no main binary, and where code ends is to the linker the last instruction, not its last page.
  const directory = file.lastIndexOf(Buffer.from([0xfa, 0xde, 0x0c, 0x02]));
  for (const bytes of [file, signed]) bytes.fill(0, directory + 72, directory + 88);
  expect(signed.equals(file)).toBe(true);
});

test("whatever signature there was is replaced, and the file grows with it", () => {
  const file = linkerSigned();
  const longer = signAdHoc(file, "a.name.that.is.longer.than.it.was");
  expect(longer.length).toBe(file.length + 24);
  expect(signAdHoc(longer, "dawn.node").equals(signAdHoc(file, "dawn.node"))).toBe(true);
});

test("what is no Mach-O file is refused", () => {
  expect(() => signAdHoc(Buffer.alloc(64), "x")).toThrow("not a 64-bit Mach-O file");
});
