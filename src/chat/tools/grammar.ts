import {
  type Expression,
  type Grammar,
  grammarError,
  choice,
  repeat,
  ROOT,
  rule,
  sequence,
  text,
  WHOLE,
} from "../grammar/grammar.ts";
import { array, JSON_RULES, list, OBJECT, SPACE } from "../grammar/json.ts";
import { schemaRules } from "../grammar/json-schema.ts";
import { isRecord, SchemaWork } from "../grammar/schema.ts";
import type { CallFormat } from "./formats.ts";
import { type CalledTool, functionCall } from "./function-calls.ts";

/** A tool that a model may call. */
export interface Tool extends CalledTool {
  /** Its arguments follow the schema wherever it is called. */
  readonly strict: boolean;
}

/** A tool's name, and what its arguments follow. */
interface Callable {
  readonly name: string;
  readonly given: Expression;
}

/** Rules for the arguments of tools. @throws RandloraError `data` for a schema that would not be obeyed */
export function argumentRules(tools: readonly Tool[]): { rules: Map<string, Expression>; callables: Callable[] } {
  const rules = new Map(JSON_RULES);
  const work = new SchemaWork();
  const callables = tools.map(({ name, parameters }, index): Callable => {
    const start = `arguments ${index}`;
    if (parameters === undefined) rules.set(start, OBJECT);
    else for (const [part, body] of schemaRules(objectsOf(parameters, name), start, work)) rules.set(part, body);
    return { name, given: rule(start) };
  });
  return { rules, callables };
}

/** Calls of one answer at most. */
const MOST_CALLS = 16;

/**
 * What follows on `format.open`: a call of one of the tools, its arguments by the tool's schema, and what ends it.
 * @param several more calls may follow
 * @param said JSON that may be the answer instead: calls then begin with what opens them
 * @throws RandloraError `data` for a schema that would not be obeyed
 */
export function callGrammar(tools: readonly Tool[], format: CallFormat, several: boolean, said?: Grammar): Grammar {
  const most = several && format.parallel ? MOST_CALLS : 1;
  const more = sequence(text("\n"), text(format.open), oneCall(format));
  const calls = format.isList ? listOfCalls(most) : sequence(oneCall(format), repeat(more, 0, most - 1));
  const rules = callRules(tools, format);
  if (said === undefined) return rules.set(ROOT, calls);
  return new Map([...said, ...rules, [WHOLE, choice(rule(ROOT), sequence(text(format.open), calls))]]);
}

/** A call by itself, up to what ends it. */
export function oneCall({ padding, close }: CallFormat): Expression {
  return sequence(text(padding), rule("call"), text(padding), text(close));
}

export function listOfCalls(most = MOST_CALLS): Expression {
  return sequence(SPACE, array(list(rule("call"), 1, most)));
}

/** The rule `call`, and those that it needs. @throws as {@link callGrammar} */
export function callRules(tools: readonly Tool[], { kind, argumentsKey }: CallFormat): Map<string, Expression> {
  if (kind === "function") {
    const [rules, work] = [new Map<string, Expression>(), new SchemaWork()];
    const calls = tools.map(({ name, parameters }, index) => {
      const schema = parameters === undefined ? undefined : objectsOf(parameters, name);
      return functionCall({ name, parameters: schema }, `arguments ${index}`, rules, work);
    });
    return rules.set("call", choice(...calls));
  }
  const { rules, callables } = argumentRules(tools);
  const calls = callables.map(({ name, given }) => {
    const head = `{"name": ${JSON.stringify(name)}, "${argumentsKey}": `;
    return sequence(text(head), given, text("}"));
  });
  return rules.set("call", choice(...calls));
}

/** Of tools whose model decides: those that are not `strict` may have any object. */
export function heldTools(tools: readonly Tool[]): readonly Tool[] {
  return tools.map((tool) => (tool.strict ? tool : { ...tool, parameters: undefined }));
}

/** Arguments are an object, whatever else a schema allows. @throws RandloraError `data` where it allows none */
function objectsOf(schema: unknown, name: string): unknown {
  if (!isRecord(schema)) return schema;
  const { type = "object" } = schema;
  if (type !== "object" && !(Array.isArray(type) && type.includes("object")))
    throw grammarError(`the parameters of ${name}: type must be "object"`);
  return { ...schema, type: "object" };
}
