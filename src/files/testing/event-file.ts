import { readFile } from "node:fs/promises";
import { crc32c } from "../event-file.ts";

/** What an event file says, read by the layout of TFRecord and of Event; @throws Error where a checksum is wrong. */
export async function readEvents(
  path: string,
): Promise<{ readonly time: number; readonly step: number; readonly scalars: Record<string, number> }[]> {
  const file = await readFile(path);
  const events = [];
  for (let at = 0; at < file.length;) {
    const size = Number(file.readBigUInt64LE(at));
    const data = file.subarray(at + 12, at + 12 + size);
    if (unmask(file.readUInt32LE(at + 8)) !== crc32c(file.subarray(at, at + 8))) throw new Error("length");
    if (unmask(file.readUInt32LE(at + 12 + size)) !== crc32c(data)) throw new Error("data");
    events.push(readEvent(data));
    at += size + 16;
  }
  return events;
}

function unmask(crc: number): number {
  const turned = (crc - 0xa282ead8) >>> 0;
  return ((turned >>> 17) | (turned << 15)) >>> 0;
}

function readEvent(data: Buffer) {
  const fields = readFields(data);
  const scalars: Record<string, number> = {};
  for (const value of readFields(fields.get(5)?.[0] ?? Buffer.alloc(0)).get(1) ?? []) {
    const parts = readFields(value);
    scalars[String(parts.get(1)?.[0])] = parts.get(2)?.[0]?.readFloatLE() ?? NaN;
  }
  const [step] = fields.get(2) ?? [];
  return { time: fields.get(1)?.[0]?.readDoubleLE() ?? 0, step: step?.readUInt32LE() ?? 0, scalars };
}

/** Fields of a protobuf message by number; whole numbers as 4 bytes. */
function readFields(data: Buffer): Map<number, Buffer[]> {
  const fields = new Map<number, Buffer[]>();
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = data.readUInt8(at++);
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  while (at < data.length) {
    const key = varint();
    const number = Buffer.alloc(4);
    if ((key & 7) === 0) number.writeUInt32LE(varint());
    const size = { 1: 8, 2: (key & 7) === 2 ? varint() : 0, 5: 4 }[key & 7] ?? 0;
    const value = (key & 7) === 0 ? number : data.subarray(at, at + size);
    at += size;
    fields.set(key >> 3, [...(fields.get(key >> 3) ?? []), value]);
  }
  return fields;
}
