import { expect, test } from "bun:test";
import { TemporaryFolder } from "../files/testing/folder.ts";
import { dataIn } from "./inputs.ts";

test("all splits of a data folder are inputs, whatever they are called, and nothing else in it", async () => {
  await using folder = await TemporaryFolder.create();
  const splits = ["dev.jsonl", "eval.json", "test.parquet", "train.jsonl", "validation.jsonl"];
  for (const name of [...splits, "plot.svg"]) await Bun.write(folder.at(name), "");
  expect((await dataIn(folder.path)).toSorted()).toEqual(splits.map((name) => folder.at(name)));
});
