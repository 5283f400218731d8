import { join } from "node:path";
import * as v from "valibot";
import { type BaseModel, modelTypeOf } from "../base/base.ts";
import { CLASSES_FILE, hasClasses } from "../files/classes-file.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { MAX_SETTINGS_BYTES, readJson } from "../../files/read-whole.ts";
import { HEAD_BIAS, HEAD_WEIGHT } from "../../models/vision/config.ts";

/** A classifier that a model gets from an adapter. */
export interface NewHead {
  /** transformers' class that has it; undefined: there is none, or the base has a head already, whose place it takes. */
  readonly architecture: string | undefined;
  readonly classes: number;
  /** The folder of the adapter. */
  readonly from: string;
}

/** Shapes of an adapter's own tensors, by the checkpoint's names. */
type Added = ReadonlyMap<string, { readonly shape: readonly number[] }>;

/** transformers' classes of models of images with a classifier, and what that reads, in widths of the encoder. */
const CLASSES: Readonly<
  Record<string, { readonly architecture: string; readonly widths: number; readonly norm: string }>
> = {
  clip: { architecture: "CLIPForImageClassification", widths: 1, norm: "vision_model.post_layernorm.weight" },
  dinov2: { architecture: "Dinov2ForImageClassification", widths: 2, norm: "layernorm.weight" },
};

/** transformers' class for models of this type with its own classifier; undefined: there is none. */
export function headArchitecture(type: string): string | undefined {
  return Object.hasOwn(CLASSES, type) ? CLASSES[type]?.architecture : undefined;
}

/** The head that a model without one gets; undefined where what is added is none. @param from the adapter's folder */
export function newHead(base: BaseModel, added: Added, from: string | undefined): NewHead | undefined {
  const type = modelTypeOf(base) ?? "";
  const kind = Object.hasOwn(CLASSES, type) ? CLASSES[type] : undefined;
  const [classes, features] = added.get("classifier.weight")?.shape ?? [];
  const [width] = base.tensors.get(kind?.norm ?? "")?.shape ?? [];
  const [biases] = added.get("classifier.bias")?.shape ?? [];
  if (kind === undefined || width === undefined || classes === undefined || from === undefined) return undefined;
  const isKnown = features === kind.widths * width && biases === classes;
  return { architecture: isKnown ? kind.architecture : undefined, classes, from };
}

/** The head of an adapter that takes the place of the base's own; undefined for a base without one. @param from its folder */
export function otherHead(base: BaseModel, from: string | undefined): NewHead | undefined {
  const [classes] = base.tensors.get("classifier.weight")?.shape ?? [];
  if (classes === undefined || from === undefined || headArchitecture(modelTypeOf(base) ?? "") === undefined)
    return undefined;
  return { architecture: undefined, classes, from };
}

/**
 * Refuses a head of which one half is an adapter's and the other the base's, or another adapter's.
 * @param replacedBy the adapter that brings a tensor
 * @throws RandloraError `adapter`
 */
export function refuseMixedHead(base: BaseModel, replacedBy: ReadonlyMap<string, string>): void {
  if (headArchitecture(modelTypeOf(base) ?? "") === undefined) return;
  const halves = [HEAD_WEIGHT, HEAD_BIAS];
  if (!halves.every((name) => base.tensors.has(name) || replacedBy.has(name))) return;
  const [weight, bias] = halves.map((name) => replacedBy.get(name));
  if (weight === bias) return;
  const cause = `${quote(HEAD_WEIGHT)} and ${quote(HEAD_BIAS)} are of two heads: an adapter brings one of them alone`;
  throw new RandloraError("adapter", cause, "name the model without its head");
}

/**
 * The names of a head's classes: those of {@link CLASSES_FILE} beside the adapter, else transformers' LABEL_0 and so on;
 * undefined: those that the base has.
 * @throws RandloraError `format` for a file that is no list of as many names
 */
export async function labelsOf({ from, classes, architecture }: NewHead): Promise<readonly string[] | undefined> {
  const named = await classesBeside(from, classes);
  if (named !== undefined || architecture === undefined) return named;
  return Array.from({ length: classes }, (_, index) => `LABEL_${index}`);
}

/**
 * What {@link CLASSES_FILE} in the folder of an adapter calls the rows of its head; undefined without the file.
 * @throws RandloraError `format` for a file that is no list of as many names
 */
export async function classesBeside(folder: string, classes: number): Promise<readonly string[] | undefined> {
  const path = join(folder, CLASSES_FILE);
  if (!(await hasClasses(folder))) return undefined;
  const hint = "it is a JSON array of names, one for each row of the head";
  const names = v.safeParse(v.array(v.string()), await readJson(path, MAX_SETTINGS_BYTES, hint));
  if (!names.success) throw new RandloraError("format", `${oneLine(path)}: not an array of names`, hint);
  if (names.output.length === classes) return names.output;
  throw new RandloraError("format", `${oneLine(path)}: ${names.output.length} names for ${classes} classes`, hint);
}
