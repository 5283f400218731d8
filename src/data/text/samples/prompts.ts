/** Texts that instructions can be written out as, instead of a chat: those of LLM-Adapters' commonsense sets. */
export const PROMPTS = ["commonsense"] as const;
export type PromptName = (typeof PROMPTS)[number];
