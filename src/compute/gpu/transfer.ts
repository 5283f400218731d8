import type { DeviceBuffer, Range } from "../device/buffer.ts";
import type { GpuContext } from "./context.ts";
import { nativeBuffer } from "./memory.ts";
import { Stream } from "./stream.ts";

/** Bytes that are uploaded at once at most: for each time there is memory of that size beside the buffer. */
const UPLOAD_CHUNK = 8 * 2 ** 20;
/** Copies bytes into a buffer, in chunks; a length that is not a multiple of 4 is padded with zeros. */
export function writeBytes(
  { device: { queue }, memory }: GpuContext,
  held: DeviceBuffer,
  source: ArrayBufferView<ArrayBuffer>,
  offset: number,
): void {
  const target = nativeBuffer(held);
  const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  const whole = bytes.length - (bytes.length % 4);
  for (let at = 0; at < whole; at += UPLOAD_CHUNK) {
    const part = bytes.subarray(at, Math.min(at + UPLOAD_CHUNK, whole));
    if (memory.isAtHand(part.length)) queue.writeBuffer(target, offset + at, part);
    else memory.upload(held, offset + at, part);
  }
  if (whole < bytes.length) {
    const rest = new Uint8Array(4);
    rest.set(bytes.subarray(whole));
    queue.writeBuffer(target, offset + whole, rest);
  }
}

/** Reads several ranges in one go, without a copy: `use` sees the mapped bytes, which are gone once it has settled. */
export async function readRanges<T>(
  gpu: GpuContext,
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
    await gpu.memory.pending;
    const stream = new Stream(gpu);
    ranges.forEach(({ buffer, offset, size }, index) =>
      stream.copy(buffer, offset, staging, starts[index] ?? 0, Math.ceil(size / 4) * 4),
    );
    stream.submit();
    await gpu.settle(staging.buffer.mapAsync(GPUMapMode.READ));
    const mapped = staging.buffer.getMappedRange();
    return await use(ranges.map(({ size }, index) => new Uint8Array(mapped, starts[index], size)));
  } finally {
    if (staging.buffer.mapState !== "unmapped") staging.buffer.unmap();
    gpu.memory.release(staging);
  }
}
