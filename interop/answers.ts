import * as v from "valibot";
import { judge } from "./judge.ts";

const Ids = v.array(v.number());
const Answer = {
  ids: Ids,
  /** Mean negative log-likelihood of the prompt's own tokens but the first. */
  nll: v.number(),
  /** The 16 largest logits after the prompt. */
  top_ids: Ids,
  top_logits: v.array(v.number()),
  /** Hidden states after the last norm: their mean, and the last token's. */
  mean_state: v.array(v.number()),
  last_state: v.array(v.number()),
  /** 64 tokens, fewer where one ended the text. */
  greedy_ids: Ids,
  greedy_text: v.string(),
};
const Read = v.object(Answer);
/** A prompt, and what transformers says to it. */
export type TextAnswer = v.InferOutput<typeof Read>;
const Text = v.object({ text: v.string(), ...Answer });
const Message = v.object({ role: v.string(), content: v.string() });
const Chat = v.object({ messages: v.array(Message), prompt: v.string(), ...Answer });
const Answers = v.object({ texts: v.array(Text), chats: v.array(Chat) });

/** A conversation, the prompt that the model's template makes of it, and what transformers says to that. */
export type ChatAnswer = v.InferOutput<typeof Chat>;

/** What transformers says of a model folder, of some texts and some chats. */
export async function answersOf(model: string): Promise<v.InferOutput<typeof Answers>> {
  return (await judge()).request(Answers, "answers", { model });
}
