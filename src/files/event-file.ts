/*
 * TensorBoard's event files: records of TFRecord, each an Event of tensorflow/core/util/event.proto, written by hand since
 * three fields of it suffice.
 */

/** What a name must hold for TensorBoard to take the file for one of events. */
export const EVENT_FILE = "events.out.tfevents.randlora";

const CASTAGNOLI = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = (rest >>> 1) ^ (rest & 1 ? 0x82f63b78 : 0);
  return rest;
});

/** CRC-32C (RFC 3720, appendix B.4). */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ (CASTAGNOLI[(crc ^ byte) & 0xff] ?? 0);
  return ~crc >>> 0;
}

/** The checksum as TFRecord stores it: a CRC of data that holds CRCs would be weak. */
function maskedCrc(bytes: Uint8Array): Buffer {
  const crc = crc32c(bytes);
  const masked = Buffer.alloc(4);
  masked.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0);
  return masked;
}

/** Length, its checksum, data, their checksum. */
function record(data: Uint8Array): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(data.length));
  return Buffer.concat([length, maskedCrc(length), data, maskedCrc(data)]);
}

/** Protobuf's base-128 number. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.from([...bytes, rest]);
}

function lengthDelimited(field: number, data: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([(field << 3) | 2]), varint(data.length), data]);
}

/** An Event's `wall_time`, in seconds since 1970. */
function wallTime(seconds: number): Buffer {
  const bytes = Buffer.alloc(9, (1 << 3) | 1);
  bytes.writeDoubleLE(seconds, 1);
  return bytes;
}

/** A Summary.Value: `tag` and `simple_value`, a float. */
function scalar(tag: string, value: number): Buffer {
  const float = Buffer.alloc(5, (2 << 3) | 5);
  float.writeFloatLE(value, 1);
  return lengthDelimited(1, Buffer.concat([lengthDelimited(1, Buffer.from(tag)), float]));
}

/** The record that every event file begins with. */
export const FIRST_RECORD: Uint8Array = record(lengthDelimited(3, Buffer.from("brain.Event:2")));

/**
 * What was measured at a step.
 * @param time in seconds since 1970
 * @param scalars by tag, such as `train/loss`
 */
export function eventRecord(time: number, step: number, scalars: Readonly<Record<string, number>>): Uint8Array {
  const values = Object.entries(scalars).map(([tag, value]) => scalar(tag, value));
  const stepField = Buffer.concat([Buffer.from([2 << 3]), varint(step)]);
  return record(Buffer.concat([wallTime(time), stepField, lengthDelimited(5, Buffer.concat(values))]));
}
