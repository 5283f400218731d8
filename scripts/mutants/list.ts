import { ADAPTERS } from "./adapters.ts";
import { COMPUTE } from "./compute.ts";
import { FILES_AND_DATA } from "./files-and-data.ts";
import { MODELS } from "./models.ts";
import type { Mutation, MutationsByFile } from "./mutation.ts";
import { PROGRAM } from "./program.ts";
import { TRAIN_AND_CHAT } from "./train-and-chat.ts";

const ALL: MutationsByFile = {
  ...COMPUTE,
  ...FILES_AND_DATA,
  ...MODELS,
  ...ADAPTERS,
  ...TRAIN_AND_CHAT,
  ...PROGRAM,
};

/** Mistakes that the tests must notice: at least one in every folder of `src`. */
export const MUTATIONS: readonly Mutation[] = Object.entries(ALL).flatMap(([file, some]) =>
  some.map(([find, replace, breaks, survives]) => ({ file, find, replace, breaks, survives })),
);
