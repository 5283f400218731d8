import type { Adapter } from "../files/adapter.ts";
import type { ConversionWish, ConvertedContent } from "../method/method.ts";
import { convertRandlora } from "../randlora/method.ts";
import { loraPart, randloraPart } from "./config.ts";

/** The bases are written or left out as RandLoRA's are; everything else stays as it is. @throws RandloraError as it does */
export async function convertHybrid(adapter: Adapter, wish: ConversionWish): Promise<ConvertedContent> {
  const { content, ...rest } = await convertRandlora(randloraPart(adapter), wish, false);
  const { save_projection: saved } = content.config;
  return {
    ...rest,
    content: {
      ...content,
      config: saved === undefined ? adapter.config : { ...adapter.config, save_projection: saved },
      tensors: [...content.tensors, ...loraPart(adapter).tensors.values()],
    },
  };
}
