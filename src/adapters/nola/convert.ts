import { Contradiction } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { contentOf } from "../files/content.ts";
import type { ConversionWish, ConvertedContent } from "../method.ts";
import type { Adapter } from "../adapter.ts";
import { nolaConfig } from "./config.ts";
import { drawsOf, GENERATOR } from "./record.ts";

/**
 * A NoLA adapter is written as it is: coefficients, and what draws the rest.
 * Throws `RandloraError` "usage" when the random factors are asked for: they would be larger than the model's weights.
 */
export async function convertNola(adapter: Adapter, { projections }: ConversionWish): Promise<ConvertedContent> {
  drawsOf(adapter, nolaConfig(adapter));
  if (projections === true) {
    const cause = `--projections yes: ${oneLine(adapter.path)} is a NoLA, whose random factors are never stored`;
    throw new Contradiction(["projections"], cause, "leave --projections out");
  }
  return { content: contentOf(adapter), generator: GENERATOR, projections: false, notes: [] };
}
