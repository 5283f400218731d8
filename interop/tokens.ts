import * as v from "valibot";
import { randlora } from "./program.ts";

const Ids = v.object({ ids: v.array(v.number()) });

/** A file by a model's tokenizer, and the token that its texts begin with (null where it adds none), as `eval perplexity` takes them. */
export async function tokensOf(model: string, file: string): Promise<{ ids: number[]; beginning: number | null }> {
  const tokenize = async (...more: string[]) =>
    v.parse(Ids, JSON.parse(await randlora(["tokenize", model, "--file", file, "--json", ...more]))).ids;
  const [ids, plain] = [await tokenize(), await tokenize("--no-special")];
  return { ids, beginning: ids.length > plain.length ? (ids[0] ?? null) : null };
}
