/**
 * Texts that instructions can be written out as, instead of a chat: those of LLM-Adapters' commonsense sets, with special tokens, and
 * end-of-sequence unless they end so. The loss covers all but the first token.
 */
export const PROMPTS = ["commonsense"] as const;
export type PromptName = (typeof PROMPTS)[number];
