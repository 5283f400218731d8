import { expect, test } from "bun:test";
import { join } from "node:path";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { nameOf, readNamedAdapters } from "./models.ts";

test("a model is called as its folder is, or as on the Hub", () => {
  const paths = [STORIES, `${STORIES}/`, join(STORIES, "model.safetensors"), "org/name@v1", "./nothing/here", "/"];
  expect(paths.map(nameOf)).toEqual(["storyteller", "storyteller", "storyteller", "org/name", "here", "model"]);
});

test("what lies in a run is called after it: every run has a best adapter", async () => {
  await using folder = await TemporaryFolder.create();
  await Bun.write(folder.at("one", "run.json"), "{}");
  await Bun.write(folder.at("one", "best", "adapter_config.json"), "{}");
  await Bun.write(folder.at("other", "best", "adapter_config.json"), "{}");
  const paths = ["one", "one/best", "one/best/adapter_config.json", "other/best"].map((name) => folder.at(name));
  expect(paths.map(nameOf)).toEqual(["one", "one-best", "one-best", "best"]);
});

test("a GGUF file is called as it is, without its ending", async () => {
  await using folder = await TemporaryFolder.create();
  await Bun.write(folder.at("pirate-q8.gguf"), "");
  expect(nameOf(folder.at("pirate-q8.gguf"))).toBe("pirate-q8");
});

test("adapters have the names that they are given, and paths may hold =", () => {
  expect(readNamedAdapters(["a=x/y", "b=x=y", " c =org/name", "./z/last", "org/other"], ["base"])).toEqual([
    { name: "a", source: "x/y" },
    { name: "b", source: "x=y" },
    { name: "c", source: "org/name" },
    { name: "last", source: "./z/last" },
    { name: "org/other", source: "org/other" },
  ]);
  for (const wrong of [["=x"], ["a="], ["a=x", "a=y"], ["base=x"], ["./x/base"]]) {
    expect(() => readNamedAdapters(wrong, ["base"])).toThrow("--adapter ");
  }
});
