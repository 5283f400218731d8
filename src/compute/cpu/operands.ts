import type { Binding, DeviceBuffer } from "../device/buffer.ts";
import { elementBytes, type Tensor } from "../device/tensor.ts";
import { BLOCK, scaleBytes } from "../device/blocks.ts";
import { DTYPE_CODES, isBlockDtype } from "../device/dtype.ts";
import { storedDtype } from "../device/weight.ts";

/** Bytes of a buffer that a command works on, and what it does with them. */
export interface Pointer {
  readonly buffer: DeviceBuffer;
  /** Bytes before the first one. */
  readonly offset: number;
  /** Bytes from there on that the command may touch. */
  readonly size: number;
  /** `write`: it writes them, and may read them. */
  readonly access: "read" | "write";
}

/** From the first element of a tensor to its last row's last, its padding included. */
export function pointer(tensor: Tensor, access: Pointer["access"] = "read"): Pointer {
  const { shape, dtype, buffer, offset, pitch } = tensor;
  const [rows, cols] = shape;
  const bytes = elementBytes(dtype);
  const whole = 16 / bytes;
  // A row of keys or values ends with its scales.
  const last = dtype === "Q8_ROWS" ? pitch : Math.ceil(cols / whole) * whole;
  const elements = rows === 0 ? 0 : (rows - 1) * pitch + last;
  return { buffer, offset: offset * bytes, size: elements * bytes, access };
}

/** Bytes from row to row. */
export function pitchBytes(tensor: Tensor): number {
  return tensor.pitch * elementBytes(tensor.dtype);
}

/** How a kernel is told in which format a matrix is stored. */
export function storedCode(op: string, tensor: Tensor): number {
  return DTYPE_CODES[storedDtype(op, tensor)];
}

/** How a matrix is stored, and the scales of its first block and bytes from row to row of them where it is in blocks. */
export function scaled(
  op: string,
  tensor: Tensor,
): { readonly dtype: number; readonly scales: Pointer | undefined; readonly scalesPitch: number } {
  const { shape, buffer, offset, pitch, scalesAt } = tensor;
  const stored = storedDtype(op, tensor);
  const dtype = DTYPE_CODES[stored];
  if (scalesAt === undefined || !isBlockDtype(stored)) return { dtype, scales: undefined, scalesPitch: 0 };
  const each = scaleBytes(stored);
  const [rowBlocks, blocks] = [pitch / BLOCK, shape[0] === 0 ? 0 : ((shape[0] - 1) * pitch + shape[1]) / BLOCK];
  const scales = { buffer, offset: scalesAt + each * (offset / BLOCK), size: each * blocks, access: "read" as const };
  return { dtype, scales, scalesPitch: each * rowBlocks };
}

/** A buffer, or a range of one. */
export function bound(binding: Binding, access: Pointer["access"] = "read"): Pointer {
  return "of" in binding
    ? { buffer: binding.of, offset: binding.offset, size: binding.size, access }
    : { buffer: binding, offset: 0, size: binding.size, access };
}
