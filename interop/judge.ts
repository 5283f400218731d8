import type { FileSink, Subprocess } from "bun";
import { join } from "node:path";
import * as v from "valibot";
import { RandloraError } from "../src/files/errors.ts";
import { PYTHON_FOLDER, pythonWithPeft } from "./environment.ts";

const Statistics = v.object({ max_delta: v.number(), largest: v.number(), ratio: v.number(), products: v.number() });

const CaseAnswer = v.object({
  name: v.string(),
  /** Holds exact, replaced and logits (.safetensors), and the folders peft and peft-safe. */
  folder: v.string(),
  base: v.string(),
  adapters: v.array(v.string()),
  /** What `--scale` is to say; empty: nothing. */
  scales: v.array(v.number()),
  dtype: v.picklist(["f32", "f16", "bf16"]),
  base_dtype: v.picklist(["f32", "f16", "bf16"]),
  out_dtype: v.nullable(v.picklist(["f32", "f16", "bf16"])),
  /** What `--generator` must say, where the files cannot. */
  generator: v.nullable(v.string()),
  /** By tensor name: max|ΔW|, the largest number that is summed, ‖ΔW‖/‖W‖, and the number of products in one element of ΔW. */
  statistics: v.record(v.string(), Statistics),
  /** Which of PEFT's merges of one adapter rounds the sum once: a folder. */
  once: v.picklist(["peft", "peft-safe"]),
  /** Before it merges DoRA, PEFT takes the adapters before it out again, and puts them back: both in the weight's dtype. */
  rebuilds: v.boolean(),
  /** A tied lm_head is adapted, or left behind by its embedding: it is written. */
  unties: v.boolean(),
});
/** One case: where its files are, and how the merge is to be asked. */
export type Case = v.InferOutput<typeof CaseAnswer>;

const Distances = v.object({ ours_exact: v.number(), ours_peft: v.number(), peft_exact: v.number() });
const Likelihoods = v.object({ base: v.number(), adapted: v.number(), merged: v.number() });
const Settings = v.record(v.string(), v.string());
const Loaded = v.object({ warnings: v.array(v.string()), config: Settings });
const Reply = v.union([v.object({ result: v.unknown() }), v.object({ error: v.string() })]);

/** A draw of PEFT to compare with. `key` is decimal text: it may exceed 2^53. */
export interface BasesSpec {
  name: string;
  key: string;
  r: number;
  max: number;
  min: number;
  kind: "dense" | "sparse" | "very_sparse";
  dtype: "f32" | "f16" | "bf16";
}

/** The same of VeRA: layers are [out, in]. */
export interface FactorsSpec extends Pick<BasesSpec, "name" | "key" | "r" | "dtype"> {
  layers: [number, number][];
}

/** PEFT in a Python process of its own; requests are answered one after the other. See python/judge.py. */
export class Judge {
  readonly #child: Subprocess<"pipe", "pipe", "pipe">;
  readonly #lines: AsyncIterator<string>;
  readonly #log: Promise<string>;
  readonly #cases = new Map<string, Promise<Case>>();
  #last: Promise<unknown> = Promise.resolve();

  private constructor(python: string) {
    const script = join(PYTHON_FOLDER, "judge.py");
    this.#child = Bun.spawn([python, script], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
      env: {
        ...process.env,
        // Nothing here may depend on the network, and progress bars would drown the reason of a failure.
        HF_HUB_OFFLINE: "1",
        HF_HUB_DISABLE_PROGRESS_BARS: "1",
        PYTHONDONTWRITEBYTECODE: "1",
      },
    });
    this.#child.unref();
    this.#lines = linesOf(this.#child.stdout);
    this.#log = tailOf(this.#child.stderr);
  }

  /** Start the process, making its environment first where there is none. */
  static async start(): Promise<Judge> {
    return new Judge(await pythonWithPeft());
  }

  /** The folder for everything temporary; it goes away with the process. */
  work(): Promise<string> {
    return this.#ask(v.string(), "work", {});
  }

  /** Runs a script of python/ in the judge's process. @returns what it prints */
  script(name: string, ...args: string[]): Promise<string> {
    return this.#ask(v.string(), "script", { name, args });
  }

  /** Names of all cases on tiny models. */
  cases(): Promise<string[]> {
    return this.#ask(v.array(v.string()), "cases", {});
  }

  /** Make one of them, or find it made. */
  case(name: string): Promise<Case> {
    const made = this.#cases.get(name) ?? this.#ask(CaseAnswer, "case", { name });
    this.#cases.set(name, made);
    return made;
  }

  /** Make an adapter (r = 16, bases as PEFT saves them) on a real checkpoint. */
  realCase(name: string, base: string, dtype: "f32" | "bf16"): Promise<Case> {
    return this.#ask(CaseAnswer, "real_case", { name, base, dtype });
  }

  /** What PEFT draws, into the file `out`: `NAME.a`, `NAME.b`. */
  bases(specs: BasesSpec[], out: string): Promise<null> {
    return this.#ask(v.null(), "bases", { specs, out });
  }

  /** The factors that PEFT draws for VeRA, into the file `out`: `NAME.a` (r, max_in), `NAME.b` (max_out, r). */
  factors(specs: FactorsSpec[], out: string): Promise<null> {
    return this.#ask(v.null(), "factors", { specs, out });
  }

  /** Relative distances of the outputs of a merged folder, loaded by transformers, from the exact ones and from PEFT's. */
  logits(model: string, reference: string): Promise<v.InferOutput<typeof Distances>> {
    return this.#ask(Distances, "logits", { model, reference });
  }

  /**
   * Mean negative log-likelihoods of a text in windows of `context` tokens: by the base, by PEFT's model with the adapter,
   * and by a folder that somebody merged.
   */
  perplexities(of: {
    readonly base: string;
    readonly adapter: string;
    readonly merged: string;
    readonly ids: readonly number[];
    readonly context: number;
    readonly beginning: number | null | undefined;
  }): Promise<v.InferOutput<typeof Likelihoods>> {
    return this.#ask(Likelihoods, "perplexities", of);
  }

  /** Load an adapter folder in PEFT; `out` gets `MODULE.delta` (f64), `MODULE.lambda`, `MODULE.gamma`. */
  loadAdapter(base: string, adapter: string, out: string): Promise<v.InferOutput<typeof Loaded>> {
    return this.#ask(Loaded, "load_adapter", { base, adapter, out });
  }

  /** The settings that PEFT reads from an adapter folder, as text by name. */
  config(adapter: string): Promise<v.InferOutput<typeof Settings>> {
    return this.#ask(Settings, "config", { adapter });
  }

  /** Write the folder `out`: the adapter as PEFT would have saved it without its bases. Returns `out`. */
  async withoutProjections(adapter: string, out: string): Promise<string> {
    await this.#ask(v.null(), "without_projections", { adapter, out });
    return out;
  }

  /** Ask for what training.py or training_data.py offer; see training-judge.ts. */
  request<T>(
    schema: v.GenericSchema<unknown, T>,
    method: string,
    params: Readonly<Record<string, unknown>>,
  ): Promise<T> {
    return this.#ask(schema, method, params);
  }

  #ask<T>(schema: v.GenericSchema<unknown, T>, method: string, params: Readonly<Record<string, unknown>>): Promise<T> {
    const answer = this.#last.then(async () => {
      const sink: FileSink = this.#child.stdin;
      sink.write(`${JSON.stringify({ method, params })}\n`);
      await sink.flush();
      const { value, done } = await this.#lines.next();
      if (done === true) throw new RandloraError("file", `the Python side ended:\n${await this.#log}`);
      const reply = v.parse(Reply, JSON.parse(value));
      if ("error" in reply) throw new RandloraError("file", `${method} failed in Python:\n${reply.error}`);
      return v.parse(schema, reply.result);
    });
    this.#last = answer.catch(() => {});
    return answer;
  }
}

let shared: Promise<Judge> | undefined;

/** The one judge of this test run. */
export function judge(): Promise<Judge> {
  shared ??= Judge.start();
  return shared;
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

/** The last 8 KB of a stream, once it has ended. */
async function tailOf(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let tail = "";
  for await (const chunk of stream) tail = (tail + decoder.decode(chunk, { stream: true })).slice(-8192);
  return tail;
}
