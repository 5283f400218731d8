// Plays `src/compute/gpu/dawn.ts`: the runtime's own WebGPU in place of Dawn's.

export function createInstance(): GPU {
  return navigator.gpu;
}

export function releaseInstance(): void {}
