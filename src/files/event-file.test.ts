import { expect, test } from "bun:test";
import { crc32c, eventRecord, FIRST_RECORD } from "./event-file.ts";

test("CRC-32C is that of RFC 3720, appendix B.4", () => {
  const ascending = Uint8Array.from({ length: 32 }, (_, i) => i);
  const found = [new Uint8Array(32), new Uint8Array(32).fill(0xff), ascending].map(crc32c);
  expect([...found, crc32c(Buffer.from("123456789"))]).toEqual([0x8a9136aa, 0x62a8ab43, 0x46dd794e, 0xe3069283]);
});

// Made by tensorboard 2.21's RecordWriter from Event(file_version="brain.Event:2") and from
// Event(wall_time=1.5, step=300, summary=Summary(value=[Value(tag="train/loss", simple_value=0.1), Value(tag="b", simple_value=-2)])).
const FIRST = "0f000000000000006d532b091a0d627261696e2e4576656e743a32fc985129";
const SECOND =
  "2b00000000000000861bc34b09000000000000f83f10ac022a1d0a110a0a747261696e2f6c6f737315cdcccc3d0a080a016215000000c0ad06c3b6";

test("records are those of tensorboard's own writer", () => {
  expect(Buffer.from(FIRST_RECORD).toString("hex")).toBe(FIRST);
  expect(Buffer.from(eventRecord(1.5, 300, { "train/loss": 0.1, b: -2 })).toString("hex")).toBe(SECOND);
});
