import type { Device } from "../../compute/device/device.ts";
import { LoadedImageModel, type LoadedImageModelOptions } from "../images/model.ts";
import type { Variant, VariantsPlan } from "./plan-variants.ts";

export interface ImageVariantOptions extends Pick<
  LoadedImageModelOptions,
  "size" | "withoutText" | "dtype" | "signal"
> {
  /** Told what the user should know of an adapter: one line. */
  readonly onNote?: ((note: string) => void) | undefined;
}

/**
 * Loads a variant of a model of images. What an adapter changes is W + ΔW in F32.
 * @throws RandloraError as `LoadedImageModel.open`
 */
export async function openImageVariant(
  gpu: Device,
  { location, generator }: VariantsPlan,
  variant: Variant,
  { onNote, ...options }: ImageVariantOptions,
): Promise<LoadedImageModel> {
  const adapters = variant.kind === "adapter" ? [{ path: variant.path, scale: 1 }] : [];
  const from = variant.kind === "adapter" ? location : variant.location;
  const opened = await LoadedImageModel.open(gpu, from, { ...options, adapters, generator, exact: true });
  for (const note of opened.notes) onNote?.(note);
  return opened;
}
