import { basename } from "node:path";
import { RandloraError } from "../../../files/errors.ts";
import { oneLine } from "../../../files/failure.ts";
import { isGgufName } from "../../../files/gguf/format.ts";
import type { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import type { OutputDtype } from "../../../files/safetensors/dtype.ts";
import type { Outtype } from "../outtypes.ts";
import { GgufModel } from "./model.ts";

/** What a merge is told that a GGUF file depends on. */
interface Asked {
  readonly outtype?: Outtype | undefined;
  readonly dtype: OutputDtype;
  readonly pre?: string | undefined;
}

/**
 * What a GGUF file will say of the base; undefined for another output.
 * @throws RandloraError `usage` for flags that do not go with the output; as {@link GgufModel.read}
 */
export async function ggufModel(
  { outtype, dtype, pre }: Asked,
  out: string,
  checkpoint: Checkpoint,
): Promise<GgufModel | undefined> {
  if (!isGgufName(out)) {
    if ((outtype ?? pre) === undefined) return undefined;
    const hint = "name a file: --out model.gguf; --dtype is for folders";
    throw new RandloraError("usage", `--outtype and --pre are of GGUF files, and ${oneLine(out)} is none`, hint);
  }
  if (outtype !== undefined && dtype !== "keep") {
    throw new RandloraError("usage", "--outtype and --dtype say the same of a GGUF file", "give --outtype alone");
  }
  const name = basename(out).replace(/\.gguf$/i, "");
  return await GgufModel.read(checkpoint, { outtype: outtype ?? dtype, pre, name });
}
