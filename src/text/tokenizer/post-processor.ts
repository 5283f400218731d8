import * as v from "valibot";

import { Part, PartError, readPart, unknownPart } from "./part.ts";

/** Puts the special tokens around a text's ids. */
export type PostProcessor = (ids: readonly number[]) => readonly number[];

const Item = v.union([
  v.object({ SpecialToken: v.looseObject({ id: v.string() }) }),
  v.object({ Sequence: v.looseObject({ id: v.string() }) }),
]);
const Template = v.looseObject({
  single: v.array(Item),
  special_tokens: v.record(v.string(), v.looseObject({ ids: v.array(v.number()) })),
});
const Pair = v.looseObject({ cls: v.tuple([v.string(), v.number()]), sep: v.tuple([v.string(), v.number()]) });
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
        const special = special_tokens[item.SpecialToken.id];
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
