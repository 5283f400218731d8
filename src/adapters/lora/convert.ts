import { Contradiction } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { contentOf } from "../files/content.ts";
import type { ConversionWish, ConvertedContent } from "../method.ts";
import type { Adapter } from "../adapter.ts";

/** A LoRA adapter is written as it is. Throws `RandloraError` "usage" when bases are asked for, which it has not. */
export async function convertLora(adapter: Adapter, { projections }: ConversionWish): Promise<ConvertedContent> {
  if (projections === true) {
    const cause = `--projections yes: ${oneLine(adapter.path)} is a LoRA, which has no random bases`;
    throw new Contradiction(["projections"], cause, "leave --projections out");
  }
  return { content: contentOf(adapter), generator: undefined, projections: false, notes: [] };
}
