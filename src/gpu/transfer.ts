import type { Gpu } from "./gpu.ts";
import type { GpuBuffer } from "./memory.ts";
import { Stream } from "./stream.ts";

/** Bytes that one `writeBuffer` call takes at most: Dawn stages each call in memory of that size. */
const UPLOAD_CHUNK = 8 * 2 ** 20;

/** Copies bytes into a buffer, in chunks; a length that is not a multiple of 4 is padded with zeros. */
export function upload(gpu: Gpu, target: GpuBuffer, source: ArrayBufferView<ArrayBuffer>, offset = 0): void {
  const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  const whole = bytes.length - (bytes.length % 4);
  for (let at = 0; at < whole; at += UPLOAD_CHUNK) {
    const size = Math.min(UPLOAD_CHUNK, whole - at);
    gpu.device.queue.writeBuffer(target.buffer, offset + at, bytes, at, size);
  }
  if (whole < bytes.length) {
    const rest = new Uint8Array(4);
    rest.set(bytes.subarray(whole));
    gpu.device.queue.writeBuffer(target.buffer, offset + whole, rest);
  }
}

/** A buffer with `data` in it. */
export function uploaded(gpu: Gpu, label: string, data: ArrayBufferView<ArrayBuffer>): GpuBuffer {
  const buffer = gpu.memory.allocate(label, data.byteLength);
  upload(gpu, buffer, data);
  return buffer;
}

/** A part of a buffer, in bytes; the offset is a multiple of 4. */
export interface Range {
  readonly buffer: GpuBuffer;
  readonly offset: number;
  readonly size: number;
}

/** Reads a buffer back after everything submitted so far has run. */
export async function read(gpu: Gpu, buffer: GpuBuffer): Promise<Uint8Array<ArrayBuffer>> {
  const [bytes] = await readWith(gpu, [{ buffer, offset: 0, size: buffer.size }], async (parts) =>
    parts.map((part) => part.slice()),
  );
  return bytes ?? new Uint8Array();
}

/** Reads several ranges in one go, without a copy: `use` sees the mapped bytes, which are gone once it has settled. */
export async function readWith<T>(
  gpu: Gpu,
  ranges: readonly Range[],
  use: (parts: Uint8Array<ArrayBuffer>[]) => Promise<T>,
): Promise<T> {
  const starts: number[] = [];
  let total = 0;
  for (const { size } of ranges) {
    starts.push(total);
    total += Math.ceil(size / 8) * 8;
  }
  const staging = gpu.memory.allocate("read", total, "read");
  try {
    const stream = new Stream(gpu);
    ranges.forEach(({ buffer, offset, size }, index) =>
      stream.copy(buffer.buffer, offset, staging.buffer, starts[index] ?? 0, Math.ceil(size / 4) * 4),
    );
    stream.submit();
    await gpu.settle(staging.buffer.mapAsync(GPUMapMode.READ));
    const mapped = staging.buffer.getMappedRange();
    return await use(ranges.map(({ size }, index) => new Uint8Array(mapped, starts[index], size)));
  } finally {
    gpu.memory.release(staging);
  }
}
