import { expect, test } from "bun:test";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { fillTemplate, promptTemplates, readNames } from "./prompts.ts";

test("templates are the paper's, CLIP's for the set, or a file's", async () => {
  expect(await promptTemplates("simple", "Cars")).toEqual(["An image of {}"]);
  expect(await promptTemplates("openai", "food101")).toEqual(["a photo of {}, a type of food."]);
  expect((await promptTemplates("openai")).length).toBe(80);
  await using folder = await TemporaryFolder.create();
  await Bun.write(folder.at("t.txt"), "\uFEFFa {} here\r\n\n {} and {}\n");
  expect(await promptTemplates(folder.at("t.txt"))).toEqual(["a {} here", "{} and {}"]);
  await Bun.write(folder.at("t.txt"), "a {}\nnothing\n");
  expect((await refusalOf(() => promptTemplates(folder.at("t.txt")))).message).toEndWith(
    "t.txt: a template without {}: nothing",
  );
  await Bun.write(folder.at("t.txt"), "\n");
  expect((await refusalOf(() => readNames(folder.at("t.txt")))).message).toEndWith("it is empty");
  expect((await refusalOf(() => promptTemplates(folder.at("none")))).code).toBe("file");
});

test("a class is put in as it is", () => {
  expect(fillTemplate("a {} and {}.", "$& $1")).toBe("a $& $1 and $& $1.");
});
