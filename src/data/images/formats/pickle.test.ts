import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { RandloraError } from "../../../files/errors.ts";
import { refusalOf } from "../../../files/testing/folder.ts";
import { setFile } from "../named/testing/replicas.ts";
import { PickledObject, readPickle } from "./pickle.ts";

const bytesOf = (text: string) => Buffer.from(text, "latin1");

describe("readPickle", () => {
  test("reads plain data, and describes objects without making them", () => {
    const text = "\x80\x02}(U\x01aK\x05U\x01b]q\x01(M\x00\x01J\xff\xff\xff\xffN\x88\x89eU\x01ch\x01u.";
    const list = [256, -1, null, true, false];
    const read = readPickle(bytesOf(text), "x");
    if (!(read instanceof Map)) throw new Error("no dictionary");
    expect([read.get("a"), read.get("b"), read.get("c"), read.size]).toEqual([5, list, list, 3]);
  });

  test("never runs what a pickle asks for", () => {
    const object = readPickle(bytesOf("\x80\x02cos\nsystem\nU\x04trueq\x01\x85R."), "x");
    expect(object).toBeInstanceOf(PickledObject);
    expect(object).toMatchObject({ type: "os.system", args: [new Uint8Array(bytesOf("true"))] });
  });

  test.each([
    "",
    "\x80\x04.",
    "\x80\x02",
    "\x80\x02e.",
    "\x80\x02h\x01.",
    "\x80\x02U\xffab.",
    "\x80\x02]a.",
    "i",
    "\x80\x02K\x01b.",
  ])("refuses %j", async (text) => {
    expect((await refusalOf(() => readPickle(bytesOf(text), "x"))).message).toStartWith("x: not a pickle");
  });

  test("makes bytes of a text once, not as often as a pickle says", async () => {
    const text = "x".repeat(200);
    const once = `(\x80\x02c_codecs\nencode\nq\x01X\xc8\x00\x00\x00${text}q\x02X\x06\x00\x00\x00latin1q\x03\x86R`;
    const again = "h\x01h\x02h\x03\x86R";
    expect(readPickle(bytesOf(`${once}t.`), "x")).toEqual([new Uint8Array(bytesOf(text))] as never);
    const refusal = await refusalOf(() => readPickle(bytesOf(`${once}${again.repeat(3)}t.`), "x"));
    expect(refusal.message).toContain("more bytes than are in it");
  });

  test("survives changed and missing bytes", () => {
    const files = ["cifar10-meta", "cifar10-batch", "python3.pickle"].map(setFile);
    const changes = fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { maxLength: 3 });
    fc.assert(
      fc.property(fc.constantFrom(...files), changes, fc.option(fc.nat()), (file, changes, length) => {
        const bytes = file.slice(0, length === null ? file.length : length % file.length);
        for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
        try {
          readPickle(bytes, "x");
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(RandloraError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
