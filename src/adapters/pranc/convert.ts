import { Contradiction } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { contentOf } from "../files/content.ts";
import type { ConversionWish, ConvertedContent } from "../method.ts";
import type { Adapter } from "../adapter.ts";
import { PRANC_GENERATOR, prancRecord } from "./record.ts";

/** A PRANC adapter is written as it is. Throws `RandloraError` "usage" when bases are asked for: they fit no file. */
export async function convertPranc(adapter: Adapter, { projections }: ConversionWish): Promise<ConvertedContent> {
  if (projections === true) {
    const cause = `--projections yes: ${oneLine(adapter.path)} is a PRANC, whose bases are as large as the model each`;
    throw new Contradiction(["projections"], cause, "leave --projections out");
  }
  // Without them the coefficients say nothing.
  prancRecord(adapter);
  return { content: contentOf(adapter), generator: PRANC_GENERATOR, projections: false, notes: [] };
}
