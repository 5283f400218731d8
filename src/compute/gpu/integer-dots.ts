import type { GpuStaging } from "../device/staging.ts";

/** What WGSL calls `dot4I8Packed`. */
const FEATURE = "packed_4x8_integer_dot_product";

/** What is known about a GPU before it is opened. */
interface Card {
  readonly vendor: string;
  /** As Dawn names generations: "ampere", "rdna-2", "gen-12lp"; empty for one that it does not know. */
  readonly architecture: string;
  /** It computes on the processor. */
  readonly software: boolean;
}

/**
 * Does this GPU multiply and add four signed bytes in one instruction? Dawn offers the function everywhere, writes it out where
 * the driver has none, and does not say so; neither does a driver say here that it does the same. So generations are known by name:
 * NVIDIA from Pascal on, AMD from RDNA 2 on (and CDNA), Intel from Gen 12 on. Metal has no such function.
 * @param features WGSL's language features
 * @param platform as `process.platform` has it
 */
export function hasIntegerDots(
  card: Card,
  features: ReadonlySet<string>,
  platform: string = process.platform,
): boolean {
  const { vendor, architecture, software } = card;
  if (software || platform === "darwin" || !features.has(FEATURE)) return false;
  if (vendor === "nvidia") return !/^(tesla|fermi|kepler|maxwell)/.test(architecture);
  if (vendor === "amd") return /^(rdna-[2-9]|cdna-)/.test(architecture);
  return vendor === "intel" && /^(gen-1[2-9]|xe-)/.test(architecture);
}

/** How a GPU computes unless a recording says otherwise: with integer dot products where it has them. */
export function defaultStaging({ integerDots }: { readonly integerDots: boolean }): GpuStaging {
  return integerDots ? { kind: "workgroup", integerDots } : { kind: "workgroup" };
}
