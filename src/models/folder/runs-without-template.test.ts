import { expect, test } from "bun:test";
import { relative } from "node:path";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { runsWithoutTemplate } from "./runs-without-template.ts";

test("runs without the chat template are found by their folders or those of their weights, as MODEL and as adapters", async () => {
  await using folder = await TemporaryFolder.create();
  const file = (path: string, content: object = {}) => Bun.write(folder.at(path), JSON.stringify(content));
  for (const [name, format] of Object.entries({ texts: "completion", full: "text", chats: "chat" })) {
    await file(`runs/${name}/run.json`, { model: "org/base", sample_format: format });
  }
  await file("runs/old/run.json", { model: "org/base" });
  await file("runs/full/model/config.json");
  const found = async (...names: string[]) => {
    const paths = names.map((name) => folder.at("runs", name));
    return (await runsWithoutTemplate(["org/base", ...paths])).map((path) => relative(folder.at("runs"), path));
  };
  for (const name of ["texts", "full", "full/model", "texts/best"]) expect(await found(name)).toEqual([name]);
  for (const name of ["chats", "chats/best", "old", "nothing"]) expect(await found(name)).toEqual([]);
  expect([await found("texts/best", "chats"), await found("old", "texts")]).toEqual([[], ["texts"]]);
});
