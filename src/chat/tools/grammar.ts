import { choice, type Grammar, repeat, ROOT, rule, sequence, text } from "../grammar/grammar.ts";
import { array, JSON_RULES, list, OBJECT, SPACE } from "../grammar/json.ts";
import { schemaRules } from "../grammar/json-schema.ts";
import { SchemaWork } from "../grammar/schema.ts";
import type { CallFormat } from "./formats.ts";

/** A tool that a model may call. */
export interface Tool {
  readonly name: string;
  /** A JSON schema; undefined: any object. */
  readonly parameters: unknown;
}

/** Calls of one answer at most. */
const MOST_CALLS = 16;

/**
 * What follows on `format.open`: a call of one of the tools, its arguments by the tool's schema, and what ends it.
 * @param several more calls may follow
 * @throws RandloraError `data` for a schema that would not be obeyed
 */
export function callGrammar(tools: readonly Tool[], format: CallFormat, several: boolean): Grammar {
  const rules = new Map(JSON_RULES);
  const work = new SchemaWork();
  const calls = tools.map(({ name, parameters }, index) => {
    const start = `arguments ${index}`;
    if (parameters === undefined) rules.set(start, OBJECT);
    else for (const [part, body] of schemaRules(parameters, start, work)) rules.set(part, body);
    const head = `{"name": ${JSON.stringify(name)}, "${format.argumentsKey}": `;
    return sequence(text(head), rule(start), text("}"));
  });
  rules.set("call", choice(...calls));
  const call = rule("call");
  const most = several && format.parallel ? MOST_CALLS : 1;
  if (format.isList) {
    rules.set(ROOT, sequence(SPACE, array(list(call, 1, most))));
    return rules;
  }
  const padding = text(format.padding);
  const whole = sequence(padding, call, padding, text(format.close));
  const more = sequence(text("\n"), text(format.open), whole);
  rules.set(ROOT, sequence(whole, repeat(more, 0, most - 1)));
  return rules;
}
