import { STORIES } from "../../fixtures/stories/storyteller.ts";
import { TemporaryFolder } from "../../src/files/testing/folder.ts";
import { writeTexts } from "../../src/train/testing/runs.ts";

/** What a comparison of one step is made of. */
export const DATA = [STORIES, "--data", "train.jsonl", "--targets", "q_proj", "--steps", "1"];

/** A folder with data for comparisons, as long as the tests of a file run. */
export async function compareFolder(): Promise<TemporaryFolder> {
  const folder = await TemporaryFolder.forTests();
  await writeTexts(folder.at("train.jsonl"), 16);
  await writeTexts(folder.at("valid.jsonl"), 3, 5);
  return folder;
}
