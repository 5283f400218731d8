// A GPU without room: a software one takes what it is asked for until the machine has none.
import type { Gpu } from "../gpu.ts";

/**
 * Lets a GPU make no buffer that would be one byte more than `most` together with those made from now on. What it makes then is no
 * buffer to Dawn either, and whatever is done with it is refused, as on a card that is full.
 */
export function limitBuffers({ device }: Gpu, most: number): { readonly refused: number; most: number } & Disposable {
  const { createBuffer, popErrorScope } = device;
  const state = { most, held: 0, refused: 0, isFull: false };
  device.createBuffer = (descriptor) => {
    const isFull = state.held + descriptor.size > state.most;
    if (isFull) {
      state.refused += 1;
      state.isFull = true;
      device.pushErrorScope("validation");
      const buffer = createBuffer.call(device, {
        ...descriptor,
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE,
      });
      void popErrorScope.call(device);
      return buffer;
    }
    const buffer = createBuffer.call(device, descriptor);
    state.held += descriptor.size;
    const { destroy } = buffer;
    buffer.destroy = () => {
      state.held -= descriptor.size;
      return destroy.call(buffer);
    };
    return buffer;
  };
  device.popErrorScope = async () => {
    const { isFull } = state;
    state.isFull = false;
    const error = await popErrorScope.call(device);
    return isFull ? new GPUOutOfMemoryError("VK_ERROR_OUT_OF_DEVICE_MEMORY") : error;
  };
  return Object.assign(state, {
    [Symbol.dispose]() {
      Object.assign(device, { createBuffer, popErrorScope });
    },
  });
}
