import type { Binding } from "../device/buffer.ts";
import { elementBytes, type Tensor } from "../device/tensor.ts";
import type { Pointer } from "./parameters.ts";

/** From the first element of a tensor to its last row's last, its padding included. */
export function pointer(tensor: Tensor, access: Pointer["access"] = "read"): Pointer {
  const { shape, dtype, buffer, offset, pitch } = tensor;
  const [rows, cols] = shape;
  const bytes = elementBytes(dtype);
  const whole = 16 / bytes;
  const elements = rows === 0 ? 0 : (rows - 1) * pitch + Math.ceil(cols / whole) * whole;
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

/** A buffer, or a range of one. */
export function bound(binding: Binding, access: Pointer["access"] = "read"): Pointer {
  return "of" in binding
    ? { buffer: binding.of, offset: binding.offset, size: binding.size, access }
    : { buffer: binding, offset: 0, size: binding.size, access };
}
