import { STORIES } from "../../fixtures/stories/storyteller.ts";
import { TemporaryFolder } from "../../src/files/testing/folder.ts";
import { writeTexts } from "../../src/train/testing/runs.ts";

/** What a comparison of one step is made of. */
export const DATA = [STORIES, "--data", "train.jsonl", "--targets", "q_proj", "--steps", "1", "--forgetting", "0"];

/** A folder with data for comparisons, as long as the tests of a file run. */
export async function compareFolder(): Promise<TemporaryFolder> {
  const folder = await TemporaryFolder.forTests();
  await writeTexts(folder.at("train.jsonl"), 16);
  await writeTexts(folder.at("valid.jsonl"), 3, 5);
  return folder;
}

/** Two methods with two seeds each, of five steps. */
export const SHORT = [
  STORIES,
  "--data",
  "train.jsonl",
  "--valid",
  "valid.jsonl",
  "--targets",
  "q_proj,v_proj",
  "--methods",
  "randlora,lora+rslora",
  "--params",
  "4K",
  "--seeds",
  "2",
  "--seed",
  "3",
  "--steps",
  "5",
  "--save-every",
  "2",
  "--eval-every",
  "3",
  "--batch-size",
  "2",
  "--forgetting",
  "512",
  "--learning-rate",
  "1e-3",
  "--learning-rate",
  "lora=5e-3",
];
/** The runs of `SHORT`. */
export const NAMES = ["randlora-seed-3", "lora+rslora-seed-3", "randlora-seed-4", "lora+rslora-seed-4"] as const;

/** What `--json` prints of a comparison. */
export interface Answer {
  readonly ending: string;
  readonly winner: string | null;
  readonly results: readonly {
    readonly method: string;
    readonly seed: number;
    readonly forgetting?: number | null;
    readonly forgetting_error?: number | null;
    readonly seconds: number;
  }[];
  readonly methods: readonly { readonly method: string; readonly parameters: number; readonly learning_rate: number }[];
}

export function parse(stdout: string): Answer {
  return JSON.parse(stdout);
}

/** The results but for what depends on the clock. */
export function timeless({ results }: Answer) {
  return results.map(({ seconds: _seconds, ...rest }) => rest);
}
