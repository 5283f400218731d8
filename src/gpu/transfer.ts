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

/**
 * Reads a range back after everything submitted so far has run.
 * @param offset bytes, a multiple of 4
 */
export async function read(
  gpu: Gpu,
  source: GpuBuffer,
  offset = 0,
  size = source.size,
): Promise<Uint8Array<ArrayBuffer>> {
  return readWith(gpu, source, offset, size, async (bytes) => bytes.slice());
}

/** As `read`, without a copy: `use` sees the mapped bytes, which are gone once its promise settles. */
export async function readWith<T>(
  gpu: Gpu,
  source: GpuBuffer,
  offset: number,
  size: number,
  use: (bytes: Uint8Array<ArrayBuffer>) => Promise<T>,
): Promise<T> {
  const padded = Math.ceil(size / 4) * 4;
  const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
  const staging = gpu.device.createBuffer({ label: `read ${source.label}`, size: padded, usage });
  try {
    const stream = new Stream(gpu);
    stream.copy(source.buffer, offset, staging, 0, padded);
    stream.submit();
    await gpu.settle(staging.mapAsync(GPUMapMode.READ));
    return await use(new Uint8Array(staging.getMappedRange(), 0, size));
  } finally {
    staging.destroy();
  }
}
