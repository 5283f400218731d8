import { expect, test } from "bun:test";
import { join } from "node:path";
import { ServingProcess } from "../cmd/testing/serving.ts";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { FIXTURES } from "../src/data/text/testing/families.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { PYTHON_FOLDER, pythonWith, run } from "./environment.ts";

test("clients that programs use: openai, LangChain, LlamaIndex, Ollama", async () => {
  const python = await pythonWith("clients.txt");
  await using folder = await TemporaryFolder.create();
  const template = join(FIXTURES, "chat", "chatml-tools.jinja");
  const options = ["--chat-template", template, "--context", "2048", "--device", "cpu"];
  await using serving = new ServingProcess([STORIES, ...options], { cwd: folder.path });
  const seen: unknown = JSON.parse(await run([python, join(PYTHON_FOLDER, "clients.py"), await serving.address]));
  expect(seen).toEqual({
    openai: { calls: 3, responses: true, embeddings: true },
    langchain: { calls: 3, structured: true },
    llama_index: { same: true },
    ollama: {
      same: true,
      format: true,
      after_tools: "length",
      embeddings: true,
      shown: ["safetensors", 2048, ["completion", "tools"]],
      models: [["storyteller", true, "llama"]],
      running: ["storyteller"],
    },
  });
}, 600_000);
