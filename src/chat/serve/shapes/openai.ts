import { EVENTS } from "../event-stream.ts";
import { type Choice, identity, type Shape, type ShapeOptions, type Usage } from "./shape.ts";
import type { Part } from "../../tools/message-parser.ts";

/** How one of OpenAI's endpoints words a text: whole, and by pieces. */
interface Words {
  /** What ids begin with, and the kinds of object that answers and chunks are. */
  readonly names: { readonly id: string; readonly whole: string; readonly chunk: string };
  begin(index: number): readonly object[];
  piece(index: number, part: Part, tokens: Choice["tokens"]): object;
  end(index: number, choice: Choice): object;
  whole(choice: Choice, index: number): object;
}

/** OpenAI's chat completions and completions; with llama.cpp's timings of an answer of one text. */
export function openaiShape({ model, includeUsage }: ShapeOptions, { names, ...words }: Words): Shape {
  const { id, created } = identity(names.id);
  const answer = (object: string, choices: readonly object[]) => ({ id, object, created, model, choices });
  const chunk = (choices: readonly object[], usage: Usage | null = null): object => ({
    ...answer(names.chunk, choices),
    ...(includeUsage ? { usage } : {}),
  });
  return {
    framing: EVENTS,
    begin: (index) => words.begin(index).map((one) => chunk([one])),
    piece: (index, part, tokens) => [chunk([words.piece(index, part, tokens)])],
    end: (index, choice, timings) => [
      { ...chunk([words.end(index, choice)]), ...(timings && !includeUsage && { timings }) },
    ],
    finish: (_, usage, { llama }) => (includeUsage ? [{ ...chunk([], usage), ...(llama && { timings: llama }) }] : []),
    fail: (error) => error.toJSON(),
    whole: (all, usage, { llama }) => {
      return { ...answer(names.whole, all.map(words.whole)), usage, ...(llama && { timings: llama }) };
    },
  };
}
