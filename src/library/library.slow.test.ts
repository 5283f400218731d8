import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdir, readdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { writeLora } from "../adapters/testing/lora.ts";
import { TEST_DEVICE } from "../compute/device/testing/open.ts";
import { refusalOf, TemporaryFolder } from "../files/testing/folder.ts";
import { declareLibrary } from "../../scripts/library-types.ts";
import { cleanEnvironment, ended } from "../files/testing/process.ts";
import { chat, compare, embed, evaluate, finetune, merge, openChat, type ProgressEvent, serve } from "./index.ts";
import { EXAMPLE_OUTPUTS, libraryExamples, runExample } from "./testing/examples.ts";

const SHAPES = join(import.meta.dir, "../../fixtures/shapes");
const MODEL = join(import.meta.dir, "../../fixtures/embedded/model");
const Q = "model.layers.1.self_attn.q_proj";
const device = TEST_DEVICE?.choice;

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = await TemporaryFolder.create();
  await writeLora(folder.at("lora"), { r: 4, alpha: 8, seed: 3, modules: { [Q]: [128, 128] } });
});
afterAll(() => folder[Symbol.asyncDispose]());

test("the examples of docs/library.md run, print what they say and nothing else, and end by themselves", async () => {
  const project = folder.at("project");
  await mkdir(join(project, "node_modules"), { recursive: true });
  await symlink(join(import.meta.dir, "../.."), join(project, "node_modules/randlora"));
  const examples = await libraryExamples();
  expect(examples.length).toBe(EXAMPLE_OUTPUTS.length);
  for (const [index, code] of examples.entries()) {
    const { stdout, stderr, status } = await runExample(project, code, cleanEnvironment());
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(EXAMPLE_OUTPUTS[index] ?? /$^/);
  }
}, 120_000);

describe("merge", () => {
  test("resolves to what the command reports, and tells how far it is", async () => {
    const events: ProgressEvent[] = [];
    const out = folder.at("merged");
    const onProgress = (event: ProgressEvent) => void events.push(event);
    const report = await merge({ base: MODEL, adapters: [folder.at("lora")], out, device, onProgress });
    expect(report).toMatchObject({ out, merged: 1, combine: "sum", max_abs_delta: expect.any(Number) });
    const { done, total, task, unit } = events.at(-1) ?? {};
    expect([done, task, unit]).toEqual([total, "merging", "bytes"]);
  });

  test("options are checked as the command line's are; errors have code and hint", async () => {
    const asked = { base: MODEL, adapters: [folder.at("lora")], out: folder.at("never"), device };
    const refused = async (more: object) => {
      const { code, message, hint } = await refusalOf(() => merge({ ...asked, ...more }));
      return [code, message, hint];
    };
    expect(await refused({ dtyp: "f32" })).toEqual(["usage", "dtyp: no such option", "did you mean dtype?"]);
    expect(await refused({ output_dir: "x" })).toEqual(["usage", "output_dir: no such option", "did you mean out?"]);
    expect(await refused({ dtype: "f64" })).toEqual([
      "usage",
      expect.stringContaining('dtype: "f64" is not one of'),
      "",
    ]);
    expect(await refused({ scale: ["x"] })).toEqual(["usage", 'scale: "x" is not a number', ""]);
    expect(await refused({ combine: "ties" })).toEqual([
      "usage",
      expect.any(String),
      expect.stringContaining("density"),
    ]);
    expect(await refused({ threads: 1.5 })).toEqual(["usage", expect.stringContaining('threads: "1.5"'), ""]);
    expect(await refused({ adapters: folder.at("lora") })).toEqual([
      "usage",
      "adapters is no list",
      expect.any(String),
    ]);
    expect(await refused({ base: undefined })).toEqual(["usage", "base is no text", "give base"]);
    expect(await refused({ adapters: [folder.at("nobody")] })).toEqual([
      "file",
      expect.any(String),
      expect.any(String),
    ]);
  });

  test("an aborted signal ends it, and nothing is left", async () => {
    const out = folder.at("stopped/out");
    const stop = new AbortController();
    const onProgress = () => stop.abort(new Error("enough"));
    const stopped = merge({ base: MODEL, adapters: [folder.at("lora")], out, device, signal: stop.signal, onProgress });
    await expect(stopped).rejects.toThrow("enough");
    expect(await readdir(folder.path)).not.toContain("stopped");
  });
});

describe("chat", () => {
  const greedy = { model: MODEL, device, temperature: 0, maxTokens: 12 };

  test("hands out the text as it is written, and reports at the end; leaving the loop ends it", async () => {
    const pieces: string[] = [];
    const answer = chat({ ...greedy, prompt: "Hi" });
    let step = await answer.next();
    for (; step.done !== true; step = await answer.next()) pieces.push(step.value);
    expect(pieces.length).toBeGreaterThan(1);
    expect(step.value.text).toBe(pieces.join(""));
    expect(step.value.completion_tokens).toBeLessThanOrEqual(12);
    for await (const text of chat({ ...greedy, prompt: "Hi" })) {
      expect(text).toBe(pieces[0] ?? "");
      break;
    }
  });

  test("keeps what was said; an aborted signal ends an answer where it is", async () => {
    await using model = await openChat(greedy);
    const stop = new AbortController();
    const answer = model.say("Tell me of the island", { signal: stop.signal });
    const first = await answer.next();
    stop.abort();
    let step = await answer.next();
    while (step.done !== true) step = await answer.next();
    expect([first.done, step.value.finish_reason]).toEqual([false, "cancelled"]);
    expect(model.messages.map(({ role }) => role)).toEqual(["user", "assistant"]);
    const other = model.say("And of the sea");
    await other.next();
    await expect(model.say("Both").next()).rejects.toThrow("another answer is being written");
    await other.return({ ...step.value });
    expect(model.messages.length).toBe(4);
    model.reset();
    expect(model.messages).toEqual([]);
    await model[Symbol.asyncDispose]();
    await expect(model.say("Hi").next()).rejects.toThrow("the model was given back");
  });
});

describe("measuring", () => {
  test("a text with an adapter; what is not the library's is refused", async () => {
    const file = folder.at("text.txt");
    await Bun.write(file, "Tarn is an island in the sea.");
    const asked = { model: MODEL, file, adapter: folder.at("lora"), device };
    const { tokens, base, adapted } = await evaluate.perplexity(asked);
    expect(tokens).toBeGreaterThan(4);
    expect(adapted?.nll).not.toBe(base.nll);
    const more: object = { files: [file] };
    const unknown = await refusalOf(() => evaluate.perplexity({ ...asked, ...more }));
    expect([unknown.message, unknown.hint]).toEqual(["files: no such option", "did you mean file?"]);
    const missing = await refusalOf(() => evaluate.perplexity({ model: MODEL, device }));
    expect(missing.message).toBe("--file is missing");
  });

  test("images are embedded, and classified", async () => {
    const [model, image] = [join(SHAPES, "model"), join(SHAPES, "images/star.png")];
    const { embeddings } = await embed({ model, images: [image, image], device });
    expect(embeddings.map((one) => one.length)).toEqual([embeddings[0]?.length ?? 0, embeddings[0]?.length ?? 0]);
    const { message } = await refusalOf(() => embed({ model, device }));
    expect(message).toBe("neither images nor a text");
  });

  test("methods are compared", async () => {
    const data = folder.at("compared.jsonl");
    await Bun.write(data, `${JSON.stringify({ text: "a b c" })}\n`.repeat(8));
    const targets = ["q_proj"];
    const asked = { model: MODEL, data, out: folder.at("compared"), steps: 1, batchSize: 1, targets, device };
    const compared = await compare({ ...asked, methods: ["lora", "vera"], seeds: 1, params: [1000], shuffle: false });
    expect(compared.methods.map(({ method }) => method)).toEqual(["lora", "vera"]);
    expect([compared.ending, compared.results.length, compared.winner]).toEqual(["finished", 2, null]);
  });
});

test("a server listens until it is closed, or its signal is aborted", async () => {
  const stop = new AbortController();
  const notes: string[] = [];
  const onNote = ({ text }: { readonly text: string }) => void notes.push(text);
  const asked = { model: MODEL, port: 0, device, adapter: [`q=${folder.at("lora")}`], onNote };
  for (const end of ["close", "abort"]) {
    const server = await serve({ ...asked, signal: stop.signal });
    expect(server.models).toEqual(["model", "q"]);
    const prompt = { model: "q", prompt: "Hi", max_tokens: 2 };
    const body = JSON.stringify(prompt);
    const answer = await fetch(`${server.address}/v1/completions`, { method: "POST", body });
    expect(await answer.json()).toMatchObject({ model: "q", usage: { completion_tokens: 2 } });
    if (end === "close") await server.close();
    else stop.abort(new Error("enough"));
    await server.closed;
    await expect(fetch(server.address)).rejects.toThrow();
  }
  expect(notes).toContain("models: model, q");
  await expect(serve({ ...asked, signal: stop.signal })).rejects.toThrow("enough");
  await expect(serve({ ...asked, model: folder.at("nobody") })).rejects.toThrow("nobody");
}, 60_000);

test("a run that is stopped is saved, and goes on", async () => {
  const data = folder.at("data.jsonl");
  await Bun.write(data, `${JSON.stringify({ text: "a b c" })}\n`.repeat(8));
  const stop = new AbortController();
  const steps: number[] = [];
  const asked = {
    model: MODEL,
    data,
    out: folder.at("run"),
    steps: 4,
    batchSize: 1,
    targets: ["q_proj"],
    method: "lora",
    device,
  } as const;
  const onStep = ({ step }: { readonly step: number }) => {
    steps.push(step);
    if (step === 2) stop.abort();
  };
  const stopped = await finetune({ ...asked, onStep, signal: stop.signal });
  expect(stopped.ending).toBe("interrupted");
  const run = await finetune({ resume: folder.at("run"), device, onStep });
  expect([run.ending, run.steps, steps[0], steps.at(-1)]).toEqual(["finished", 4, 1, 4]);
});

test("a project of bun init that links the checkout type-checks with the declarations of npm run link:library", async () => {
  const project = folder.at("typed");
  await mkdir(join(project, "node_modules"), { recursive: true });
  await symlink(join(import.meta.dir, "../.."), join(project, "node_modules/randlora"));
  for (const [index, code] of (await libraryExamples()).entries()) {
    await Bun.write(join(project, `example-${index}.ts`), `${code}\nexport {};\n`);
  }
  const wrong =
    'import { finetune } from "randlora";\n// @ts-expect-error no such option\nawait finetune({ noShuffle: true });\n';
  await Bun.write(join(project, "wrong.ts"), wrong);
  const strict = { strict: true, skipLibCheck: true, noUncheckedIndexedAccess: true, noEmit: true };
  const types = [join(import.meta.dir, "../../node_modules/bun-types")];
  const compilerOptions = { ...strict, target: "ESNext", module: "Preserve", moduleResolution: "bundler", types };
  await Bun.write(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions }));
  await declareLibrary(join(import.meta.dir, "../../dist/types"));
  const tsc = join(import.meta.dir, "../../node_modules/typescript/bin/tsc");
  const { stdout, status } = await ended(
    Bun.spawn([process.execPath, tsc, "-p", project], { stdin: "ignore", stdout: "pipe", stderr: "pipe" }),
  );
  expect([stdout, status]).toEqual(["", 0]);
  await Bun.write(join(project, "node.mjs"), `import { merge } from "randlora"; merge();`);
  const node = Bun.spawnSync(["node", join(project, "node.mjs")]);
  expect([node.stderr.toString().includes("the library randlora needs Bun"), node.exitCode]).toEqual([true, 1]);
}, 60_000);
