import type { Adapter } from "../adapter.ts";
import { convertFrozen } from "../frozen/convert.ts";
import type { ConversionWish, ConvertedContent } from "../method.ts";
import { RANDLORA_BASES } from "./bases.ts";
import { randloraConfig } from "./config.ts";
import { PEFT_TYPES } from "./peft-types.ts";

/** @param inPeft whether PEFT has such adapters at all */
export async function convertRandlora(
  adapter: Adapter,
  wish: ConversionWish,
  inPeft = adapter.config["peft_type"] === PEFT_TYPES.peft,
): Promise<ConvertedContent> {
  const saysSaved = adapter.config["peft_type"] === PEFT_TYPES.peft;
  return await convertFrozen(RANDLORA_BASES, adapter, wish, { config: randloraConfig(adapter), inPeft, saysSaved });
}
