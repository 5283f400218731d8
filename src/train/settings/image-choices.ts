/** What can be chosen of a run on images, by the names on the command line. */
export const TASKS = ["classify", "contrastive"] as const;
export const HEADS = ["linear", "cls", "zero-shot"] as const;
export const TOWERS = ["vision", "text", "both"] as const;
export const CONTRASTIVE_LOSSES = ["clip", "paper"] as const;
export const AUGMENTATIONS = ["none", "crop-flip"] as const;

/** `--templates` that are no file. */
export const TEMPLATE_NAMES: readonly string[] = ["simple", "openai"];
