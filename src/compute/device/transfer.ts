import type { Device, DeviceBuffer } from "./device.ts";

/** A buffer with `data` in it. */
export function uploaded(device: Device, label: string, data: ArrayBufferView<ArrayBuffer>): DeviceBuffer {
  const buffer = device.memory.allocate(label, data.byteLength);
  device.write(buffer, data);
  return buffer;
}

/** Reads a buffer back after everything sent so far has run. */
export async function read(device: Device, buffer: DeviceBuffer): Promise<Uint8Array<ArrayBuffer>> {
  const [bytes] = await device.readWith([{ buffer, offset: 0, size: buffer.size }], async (parts) =>
    parts.map((part) => part.slice()),
  );
  return bytes ?? new Uint8Array();
}
