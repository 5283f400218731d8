import { readdirSync } from "node:fs";

/** How Linux shows what a Vulkan driver drives: DRM's render nodes, NVIDIA's, WSL's, Qualcomm's and Arm's own. */
const NODE = /^(?:renderD\d+|nvidia\d+|dxg|kgsl-3d\d+|mali\d*)$/;

/** Whether it is worth loading the GPU library: without a device file no driver has a card. Elsewhere nobody can tell. */
export function mayHaveGpu(platform: string = process.platform, list: (folder: string) => string[] = names): boolean {
  return platform !== "linux" || [...list("/dev"), ...list("/dev/dri")].some((name) => NODE.test(name));
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
