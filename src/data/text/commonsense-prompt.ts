/** A task of the data sets of LLM-Adapters (Hu et al., arXiv:2304.01933). */
export interface CommonsenseTask {
  readonly instruction: string;
  /** Empty in the commonsense sets. */
  readonly input: string;
}

const TASK = "Below is an instruction that describes a task";
const WITH_INPUT = `${TASK}, paired with an input that provides further context`;
const REQUEST = "Write a response that appropriately completes the request.";
/** Their prompts stand indented in the source, and so in the text. */
const S = " ".repeat(16);

/**
 * The text that a model is trained on: generate_prompt of LLM-Adapters' finetune.py, blanks and all (two after the first line's
 * full stop, one with an input; lines between the parts hold the indentation).
 */
export function trainingPrompt({ instruction, input, output }: CommonsenseTask & { readonly output: string }): string {
  const [begin, between] =
    input === ""
      ? [`${TASK}. ${REQUEST}  `, ""]
      : [`${WITH_INPUT}. ${REQUEST} `, `\n${S}### Input:\n${S}${input}\n${S}`];
  return `${begin}\n\n${S}### Instruction:\n${S}${instruction}\n${S}${between}\n${S}### Response:\n${S}${output}`;
}

/**
 * The text that a model continues in an evaluation: generate_prompt of LLM-Adapters' commonsense_evaluate.py, which has
 * other blanks than the one for training (one after the full stop, none with an input; lines between the parts are empty).
 */
export function evaluationPrompt({ instruction, input }: CommonsenseTask): string {
  const [begin, between] =
    input === "" ? [`${TASK}. ${REQUEST} `, ""] : [`${WITH_INPUT}. ${REQUEST}`, `\n${S}### Input:\n${S}${input}\n`];
  return `${begin}\n\n${S}### Instruction:\n${S}${instruction}\n${between}\n${S}### Response:\n${S}`;
}

/**
 * Texts that instructions can be written out as, instead of a chat: those of LLM-Adapters' commonsense sets, with special tokens, and
 * end-of-sequence unless they end so. The loss covers all but the first token.
 */
export const PROMPTS = ["commonsense"] as const;
export type PromptName = (typeof PROMPTS)[number];
