import * as v from "valibot";

import { Part, PartError, readPart, unknownPart } from "./part.ts";

/** Puts the special tokens around a text's ids. */
export type PostProcessor = (ids: readonly number[]) => readonly number[];

const Id = v.pipe(v.number(), v.integer(), v.minValue(0));
/** Around a text stand a few tokens. */
const FEW = 64;

const Item = v.union([
  v.object({ SpecialToken: v.looseObject({ id: v.string() }) }),
  v.object({ Sequence: v.looseObject({ id: v.string() }) }),
]);
const Template = v.looseObject({
  single: v.pipe(
    v.array(Item),
    v.maxLength(FEW),
    v.check((items) => items.filter((item) => "Sequence" in item).length < 2, "holds the text more than once"),
  ),
  // A map: tokens may be called `constructor`.
  special_tokens: v.pipe(
    v.custom<object>((tokens) => typeof tokens === "object" && tokens !== null, "not an object"),
    v.transform((tokens) => new Map<string, unknown>(Object.entries(tokens))),
    v.map(v.string(), v.looseObject({ ids: v.pipe(v.array(Id), v.maxLength(FEW)) })),
  ),
});
const Pair = v.looseObject({ cls: v.tuple([v.string(), Id]), sep: v.tuple([v.string(), Id]) });
const Sequence = v.looseObject({ processors: v.array(Part) });

/** Builds the post-processor of tokenizer.json for single texts. @throws {PartError} */
export function buildPostProcessor(part: Part | null, where = "post_processor"): PostProcessor {
  if (part === null) return (ids) => ids;
  switch (part.type) {
    case "ByteLevel": // changes offsets only
      return (ids) => ids;
    case "TemplateProcessing": {
      const { single, special_tokens } = readPart(Template, part, where);
      const around = single.map((item) => {
        if ("Sequence" in item) return null;
        const special = special_tokens.get(item.SpecialToken.id);
        if (special === undefined) throw new PartError(`${where}: '${item.SpecialToken.id}' is not in special_tokens`);
        return special.ids;
      });
      return (ids) => around.flatMap((special) => special ?? ids);
    }
    case "BertProcessing":
    case "RobertaProcessing": {
      const { cls, sep } = readPart(Pair, part, where);
      return (ids) => [cls[1], ...ids, sep[1]];
    }
    case "Sequence": {
      const { processors } = readPart(Sequence, part, where);
      const chain = processors.map((inner, i) => buildPostProcessor(inner, `${where}.processors.${i}`));
      return (ids) => chain.reduce((current, process) => process(current), ids);
    }
    default:
      throw unknownPart(where, part.type);
  }
}
