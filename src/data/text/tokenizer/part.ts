import * as v from "valibot";
import { RandloraError } from "../../../files/errors.ts";
import { brief, oneLine } from "../../../files/failure.ts";

/**
 * What the builders of a tokenizer's parts throw. Whoever knows which file the part came from turns it into the error
 * that a user sees.
 */
export class PartError extends Error {
  /** The part is well formed but of a kind that this program does not have. */
  readonly unsupported: boolean;

  constructor(message: string, unsupported = false) {
    super(message);
    this.unsupported = unsupported;
  }
}

/** One component of tokenizer.json: a `type` and whatever that type needs. */
export const Part = v.looseObject({ type: v.string() });
export type Part = v.InferOutput<typeof Part>;

/** `{"String": …}` or `{"Regex": …}`: how tokenizer.json writes a pattern. */
export const Pattern = v.union([v.object({ String: v.string() }), v.object({ Regex: v.string() })]);
export type Pattern = v.InferOutput<typeof Pattern>;

/** Reads a component with the schema of its type. @throws {PartError} naming the field that is wrong */
export function readPart<S extends v.GenericSchema>(schema: S, input: unknown, where: string): v.InferOutput<S> {
  const result = v.safeParse(schema, input, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = v.getDotPath(issue);
  throw new PartError(`${path === null ? where : `${where}.${path}`}: ${brief(issue.message)}`);
}

/** A component of a type that no builder knows. */
export function unknownPart(where: string, type: string): PartError {
  return new PartError(`the ${where} type '${type}' is not supported`, true);
}

/** What a part says is wrong, with the file that it came from. */
export function explain(error: unknown, path: string): unknown {
  if (!(error instanceof PartError)) return error;
  const [code, hint] = error.unsupported
    ? (["model", "BPE and Unigram tokenizers are supported, as in Llama, Mistral, Qwen, Phi and Gemma"] as const)
    : (["format", "fetch or copy the file again"] as const);
  return new RandloraError(code, `${oneLine(path)}: ${oneLine(error.message)}`, hint, { cause: error });
}
