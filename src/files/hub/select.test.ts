import { expect, test } from "bun:test";
import { RandloraError } from "../errors.ts";
import { selectFiles, type Wanted } from "./select.ts";

function select(paths: readonly string[], wanted: Wanted = "model"): string[] {
  return selectFiles("org/it", paths, wanted).files.toSorted();
}

test("a model: one weights file before an index, an index before anything else", () => {
  const index = "model.safetensors.index.json";
  expect(select(["config.json", "model.safetensors", index])).toEqual(["config.json", "model.safetensors"]);
  expect(selectFiles("org/it", ["config.json", index, "a.safetensors"], "model")).toEqual({
    files: ["config.json", index],
    index,
  });
  expect(select(["config.json", "weights.safetensors", "consolidated.safetensors"])).toEqual([
    "config.json",
    "weights.safetensors",
  ]);
});

test("templates at the top and in their folder, nothing else from folders", () => {
  const needed = ["additional_chat_templates/rag.jinja", "chat_template.jinja", "config.json", "model.safetensors"];
  const others = [
    "original/config.json",
    "original/model.safetensors",
    "additional_chat_templates/deep/x.jinja",
    "../x.jinja",
    "/x.jinja",
    "pytorch_model.bin.index.json",
    "trainer_state.json",
    "x.gguf",
  ];
  expect(select([...others, ...needed])).toEqual(needed);
});

test("a configuration: config.json, with the index that tells of the weights", () => {
  const index = "model.safetensors.index.json";
  expect(select(["config.json", "model.safetensors", "tokenizer.json"], "config")).toEqual(["config.json"]);
  expect(selectFiles("org/it", ["config.json", index, "a.safetensors"], "config")).toEqual({
    files: ["config.json", index],
    index: undefined,
  });
});

test("an adapter brings the names of its classes", () => {
  const peft = ["adapter_config.json", "adapter_model.safetensors"];
  for (const own of [peft, ["adapter.json"]]) {
    expect(selectFiles("org/it", ["README.md", "classes.json", ...own], "any").files).toEqual([...own, "classes.json"]);
  }
});

const REFUSED: readonly [wanted: Wanted, paths: readonly string[], message: string, hint: string][] = [
  ["model", ["README.md"], "it has no config.json", "check the name"],
  ["model", ["a.Q4.gguf"], "it has no config.json", "GGUF files are not fetched"],
  ["model", ["adapter_config.json"], "org/it is an adapter, not a model", "where an adapter is expected"],
  ["model", ["config.json"], "org/it has no weights", "check the name"],
  ["model", ["config.json", "pytorch_model.bin"], "as pytorch_model.bin (a pickle) only", "save_pretrained"],
  ["model", ["config.json", "x.gguf"], "as GGUF only", "holds .safetensors"],
  ["model", ["config.json", "a.safetensors", "b.safetensors"], "in a layout that is not known", "belong together"],
  ["model", ["config.json", "consolidated.safetensors"], "in a layout that is not known", "belong together"],
  ["config", ["model.safetensors"], "it has no config.json", "check the name"],
  ["adapter", ["config.json", "model.safetensors"], "is not an adapter", "it is a model"],
  ["adapter", ["README.md"], "is not an adapter", "check the name"],
  ["adapter", ["adapter_config.json"], "has no adapter_model.safetensors", ""],
  ["adapter", ["adapter_config.json", "adapter_model.bin"], "a pickle", "safe_serialization"],
];

test.each(REFUSED)("as %s: %p is refused", (wanted, paths, message, hint) => {
  const refusal = (() => {
    try {
      return selectFiles("org/it", paths, wanted);
    } catch (thrown) {
      return thrown;
    }
  })();
  if (!(refusal instanceof RandloraError)) throw new Error("it was not refused");
  expect(refusal.message).toContain(message);
  expect(refusal.hint).toContain(hint);
});
