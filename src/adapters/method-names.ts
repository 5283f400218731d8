/** Every method, the default one first. Each is a folder, or a file of `formulas`, and a line in `methods.ts`, which the command line does without. */
export const METHOD_NAMES = [
  "randlora",
  "lora",
  "dora",
  "vera",
  "nola",
  "pranc",
  "kradapter",
  "miss",
  "gralora",
  "c3a",
  "hira",
  "oft",
  "delora",
  "shira",
  "hybrid",
  "full",
] as const;

export type MethodName = (typeof METHOD_NAMES)[number];

/** Those of a comparison that names none: PRANC draws whole random networks in each step, and PEFT's rarer ones are asked for. */
export const USUALLY_COMPARED: readonly MethodName[] = [
  "randlora",
  "lora",
  "dora",
  "vera",
  "nola",
  "kradapter",
  "hybrid",
  "full",
];
