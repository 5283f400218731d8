import type { Binding } from "../device/buffer.ts";
import { elementBytes, type Tensor } from "../device/tensor.ts";
import { BLOCK, scaleBytes } from "../device/blocks.ts";
import { DTYPE_CODES, isBlockDtype } from "../device/dtype.ts";
import { storedDtype } from "../device/weight.ts";
import type { Members, Pointer, Values } from "./parameters.ts";

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

/** The same, where there is one. */
export function optional(tensor: Tensor | undefined, access: Pointer["access"] = "read"): Pointer | undefined {
  return tensor === undefined ? undefined : pointer(tensor, access);
}

/** Bytes from row to row. */
export function pitchBytes(tensor: Tensor | undefined): number {
  return tensor === undefined ? 0 : tensor.pitch * elementBytes(tensor.dtype);
}

/** Members of a kernel that reads a matrix in any stored format. */
export const SCALED = {
  dtype: "u32",
  /** Of what is in blocks. */
  scales: "pointer",
  scalesPitch: "u32",
} as const satisfies Members;

/** How a matrix is stored, and the scales of its first block and from row to row where it is in blocks. */
export function scaled(op: string, tensor: Tensor): Values<typeof SCALED> {
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
