import { expect, test } from "bun:test";
import { TemporaryFolder } from "../files/testing/folder.ts";
import { dataIn, weightsIn } from "./inputs.ts";

test("all splits of a data folder are inputs, whatever they are called, and nothing else in it", async () => {
  await using folder = await TemporaryFolder.create();
  const splits = ["dev.jsonl", "eval.json", "test.parquet", "train.jsonl", "validation.jsonl"];
  for (const name of [...splits, "plot.svg"]) await Bun.write(folder.at(name), "");
  expect((await dataIn(folder.path)).toSorted()).toEqual(splits.map((name) => folder.at(name)));
});

test("a model's folder is an input whole; of a run those parts are that have weights", async () => {
  await using folder = await TemporaryFolder.create();
  await Bun.write(folder.at("model", "config.json"), "{}");
  for (const name of ["run.json", "adapter/adapter_config.json", "metrics.jsonl"]) {
    await Bun.write(folder.at("run", name), "{}");
  }
  const wanted = [folder.at("model"), folder.at("run", "run.json"), folder.at("run", "adapter")];
  expect(weightsIn([folder.at("model"), folder.at("run")])).toEqual(wanted);
});
