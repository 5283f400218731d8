/** Every method, the default one first. Each is a folder here and a line in `methods.ts`, which the command line does without. */
export const METHOD_NAMES = [
  "randlora",
  "lora",
  "dora",
  "vera",
  "nola",
  "pranc",
  "kradapter",
  "miss",
  "hybrid",
  "full",
] as const;

export type MethodName = (typeof METHOD_NAMES)[number];

/**
 * Those of a comparison that names none. PRANC draws whole random networks in each step, and takes longer than all others;
 * MiSS is compared where it is asked for.
 */
export const USUALLY_COMPARED: readonly MethodName[] = METHOD_NAMES.filter(
  (name) => name !== "pranc" && name !== "miss",
);
