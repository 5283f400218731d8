import type { Processes } from "../../mpi/processes.ts";
import { type Answerer, askQuestions, type CommonsenseOptions } from "./commonsense.ts";
import { judge, type Question } from "./commonsense-tasks.ts";

/** Questions of each process before the answers are exchanged: so many are lost at most when all are killed. */
const ROUND = 128;

/** What came of a question. */
interface Said {
  readonly index: number;
  readonly text: string;
  /** Tokens of a prompt that fills the model's context. */
  readonly tooLong?: number;
}

/**
 * As {@link askQuestions} of the questions from number `first` on; each process asks its part of them, and all are told all
 * answers. What is answered does not depend on what else is asked.
 * @throws as `askQuestions`; EndedByOther
 */
export async function askTogether(
  answerer: Answerer,
  questions: readonly Question[],
  first: number,
  options: CommonsenseOptions,
  processes: Processes,
): Promise<number> {
  const { rank, size } = processes;
  const all = questions.map((_, index) => index).slice(first);
  if (size === 1) return await askQuestions(answerer, questions, all, options);
  let written = 0;
  for (let begin = 0; begin < all.length; begin += ROUND * size) {
    const compute = async () => {
      const said = new Map<number, Said>();
      const own = all.slice(begin, begin + ROUND * size).filter((_, at) => at % size === rank);
      const numbers = new Map(own.map((index) => [questions[index], index]));
      const tokens = await askQuestions(answerer, questions, own, {
        ...options,
        onTooLong: (question, tooLong) => {
          const index = numbers.get(question);
          if (index !== undefined) said.set(index, { index, text: "", tooLong });
        },
        onAnswer: async (index, { text }) => void said.set(index, { index, text, ...said.get(index) }),
      });
      return encode({ tokens, said: [...said.values()] });
    };
    const parts = await processes.gather((await processes.recall?.()) ?? (await compute()));
    const rounds = parts.map(decode);
    written += rounds.reduce((sum, round) => sum + round.tokens, 0);
    const inOrder = rounds.flatMap((round) => round.said).toSorted((a, b) => a.index - b.index);
    for (const { index, text, tooLong } of inOrder) {
      const question = questions[index];
      if (question === undefined) throw new RangeError(`no question ${index}`);
      if (tooLong !== undefined) options.onTooLong?.(question, tooLong);
      await options.onAnswer(index, judge(question, text));
    }
  }
  return written;
}

interface Round {
  readonly tokens: number;
  readonly said: readonly Said[];
}

function encode(round: Round): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(round));
}

function decode(bytes: Uint8Array): Round {
  // What `encode` made in another process of this program.
  return JSON.parse(new TextDecoder().decode(bytes)) as Round;
}
