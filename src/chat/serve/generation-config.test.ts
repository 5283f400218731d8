import { expect, test } from "bun:test";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { readGenerationConfig, requestDefaults } from "./serve-command.ts";

const NONE = { temperature: undefined, topK: undefined, topP: undefined, minP: undefined, maxTokens: undefined };

test("what the command line leaves open is the model's", async () => {
  await using folder = await TemporaryFolder.create();
  const plain = { temperature: undefined, topK: undefined, topP: undefined, minP: undefined, repeatPenalty: undefined };
  expect(requestDefaults(NONE, await readGenerationConfig(folder.path))).toEqual({
    sampling: plain,
    maxTokens: 4096,
  });
  const config = {
    do_sample: true,
    temperature: 0.6,
    top_k: 20,
    top_p: 0.95,
    repetition_penalty: 1.05,
    eos_token_id: 2,
  };
  await Bun.write(folder.at("generation_config.json"), JSON.stringify(config));
  expect(requestDefaults({ ...NONE, topK: 0, maxTokens: 9 }, await readGenerationConfig(folder.path))).toEqual({
    sampling: { ...plain, temperature: 0.6, topK: 0, topP: 0.95, repeatPenalty: 1.05 },
    maxTokens: 9,
  });
  await Bun.write(folder.at("generation_config.json"), JSON.stringify({ top_p: 7 }));
  await expect(readGenerationConfig(folder.path)).rejects.toThrow("generation_config.json: top_p: ");
});
