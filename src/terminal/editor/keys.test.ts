import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Key, KeyReader } from "./keys.ts";

const encoder = new TextEncoder();

function read(...chunks: string[]): Key[] {
  const reader = new KeyReader();
  return [...chunks.flatMap((chunk) => reader.push(encoder.encode(chunk))), ...reader.flush()];
}

const names = (keys: readonly Key[]): string[] => keys.map((key) => (key.kind === "key" ? key.name : key.text));

describe("keys", () => {
  test.each([
    ["\x01", "ctrl-a"],
    ["\r", "enter"],
    ["\n", "ctrl-j"],
    ["\x7f", "backspace"],
    ["\x1b[A", "up"],
    ["\x1bOB", "down"],
    ["\x1b[1;5D", "ctrl-left"],
    ["\x1b[1;3C", "alt-right"],
    ["\x1b\x1b[D", "alt-left"],
    ["\x1b[3~", "delete"],
    ["\x1b[1~", "home"],
    ["\x1b[8~", "end"],
    ["\x1bOH", "home"],
    ["\x1b[3;5~", "ctrl-delete"],
    ["\x1bb", "alt-b"],
    ["\x1bB", "alt-b"],
    ["\x1b\x7f", "alt-backspace"],
    ["\x1b\r", "alt-enter"],
    ["\x1b[13;2u", "alt-enter"],
    ["\x1b[27;3;13~", "alt-enter"],
    ["\x1b[97;5u", "ctrl-a"],
    ["\x1b", "escape"],
  ])("%j is %s", (bytes, name) => expect(read(bytes)).toEqual([{ kind: "key", name }]));

  test("what is no key is passed over, and what follows it is read", () => {
    expect(names(read("\x1b[?1;2c\x1b[Ia\x1b[200;1H\x1b[<0;3;4Mb\x1b[99~"))).toEqual(["a", "home", "b"]);
  });

  test("a lone ESC waits for its sequence, and only for that", () => {
    const reader = new KeyReader();
    expect(reader.push(encoder.encode("\x1b"))).toEqual([]);
    expect(reader.waiting).toBe(true);
    expect(names(reader.push(encoder.encode("[A")))).toEqual(["up"]);
    expect(reader.waiting).toBe(false);
    expect(reader.flush()).toEqual([]);
  });
});

test("pastes are text whatever they hold, of any size", () => {
  const text = "one\r\ntwo\rthree\x1b[A\x03\t" + "x".repeat(100_000);
  expect(read(`a\x1b[200~${text}\x1b[201~\r`)).toEqual([
    { kind: "text", text: "a" },
    { kind: "paste", text: `one\ntwo\nthree[A\t${"x".repeat(100_000)}` },
    { kind: "key", name: "enter" },
  ]);
});

test("bytes may be cut anywhere", () => {
  const sequences = [
    "a",
    "é",
    "埋",
    "👩‍🔬",
    "\x1b[A",
    "\x1b[1;5D",
    "\x1bb",
    "\r",
    "\x1b[200~x\x1b\ny\x1b[201~",
    "\x1b[3~",
  ];
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...sequences), { maxLength: 8 }), fc.array(fc.nat(40)), (parts, cuts) => {
      const bytes = encoder.encode(parts.join(""));
      const reader = new KeyReader();
      const keys: Key[] = [];
      let start = 0;
      for (const end of [...cuts.map((cut) => Math.min(cut, bytes.length)).toSorted((a, b) => a - b), bytes.length]) {
        keys.push(...reader.push(bytes.subarray(start, end)));
        start = end;
      }
      // Text may come in more pieces; everything else is the same.
      expect(names(keys).join("|").replaceAll("|", "")).toBe(names(read(parts.join(""))).join(""));
    }),
    { numRuns: 300 },
  );
});
