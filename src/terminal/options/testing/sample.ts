/*
 * A small program for the tests of this folder: `bun src/terminal/options/testing/sample.ts …` runs it as a real process.
 */
import { Contradiction, RandloraError } from "../../../files/errors.ts";
import {
  choice,
  defineCommand,
  defineGroup,
  flag,
  integer,
  json,
  number,
  numbers,
  optional,
  optionalText,
  repeat,
  required,
  text,
  variadic,
} from "../command.ts";
import type { Program } from "../names.ts";
import { runProcess } from "../process.ts";
import { command as count } from "./template-command.ts";

const mix = defineCommand({
  name: "mix",
  otherNames: ["stir"],
  summary: "Show every option as it was settled",
  example: "sample mix base one two --scale 0.5",
  arguments: { base: required("BASE", "the first"), others: variadic("OTHER", "the rest") },
  options: {
    dtype: choice(["keep", "f32", "bf16"], { topic: "Output", help: "number format of the result", default: "keep" }),
    maxShardSize: integer({ topic: "Output", short: "n", help: "bytes in a file", min: 1, default: 5 }),
    scale: repeat(number({ topic: "Mixing", value: "S", help: "a factor for each" })),
    stop: repeat(text({ topic: "Mixing", help: "where to stop" })),
    betas: numbers({ topic: "Mixing", help: "two of them", length: 2, default: [0.9, 0.999] }),
    noSpecial: flag({ topic: "Mixing", help: "leave special tokens out" }),
    force: flag({ topic: "Output", help: "replace what is there" }),
    resume: optionalText({ topic: "Mixing", value: "RUN", help: "go on" }),
    kwargs: json({ topic: "Mixing", help: "passed on" }),
    prompt: text({ topic: "Mixing", short: "p", help: "what to say" }),
  },
  run(args, options, { device, json: asJson, ...context }) {
    context.print("for people\n");
    context.result(
      { ...args, ...options, device: device.choice, threads: device.threads, profile: device.profile, asJson },
      () => `${JSON.stringify(options)}\n`,
    );
  },
});

const fail = defineCommand({
  name: "fail",
  summary: "Fail in one of several ways",
  example: "sample fail format",
  arguments: { how: optional("HOW", "in which way") },
  options: {},
  async run({ how }, _, context) {
    context.log.info("about to fail");
    await Bun.sleep(1);
    if (how === "format") throw new RandloraError("format", "x.safetensors: header cut off", "fetch the file again");
    if (how === "usage") throw new RandloraError("usage", "--a and --b exclude each other", "leave one out");
    if (how === "later") setTimeout(() => void Promise.reject(new Error("lost promise")), 1);
    else throw new TypeError("undefined is not a model");
  },
});

const walk = defineCommand({
  name: "walk",
  summary: "Go some way, which is said once",
  example: "sample walk --steps 3",
  arguments: { where: optional("WHERE", "where to") },
  options: {
    steps: integer({ help: "in steps" }),
    miles: integer({ help: "or in miles" }),
    gait: text({ help: "in which manner" }),
  },
  run({ where }, { steps, miles, gait }, context) {
    if (steps !== undefined && miles !== undefined) {
      throw new Contradiction(["steps", "miles"], "--steps and --miles: both say how far", "leave one out");
    }
    if (gait === "swim" && where !== "sea") {
      throw new Contradiction(["gait"], "--gait swim: there is no water", "leave it out");
    }
    if (gait === "fly") throw new RandloraError("usage", "nobody flies", "leave --gait out");
    context.result({ where, steps, miles, gait });
  },
});

const wait = defineCommand({
  name: "wait",
  summary: "Wait for a signal, then clean up",
  example: "sample wait",
  arguments: {},
  options: { stubborn: flag({ help: "never end by itself" }) },
  async run(_, { stubborn }, { log, signal }) {
    const timer = setInterval(() => undefined, 1000);
    const aborted = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    log.info("waiting");
    await aborted;
    log.info("cleaning up");
    if (!stubborn) clearInterval(timer);
  },
});

const pour = defineCommand({
  name: "pour",
  summary: "Write until nobody reads",
  example: "sample pour | head -n 1",
  arguments: {},
  options: {},
  async run(_, __, { print, signal }) {
    while (!signal.aborted) {
      print("a line\n".repeat(1000));
      await Bun.sleep(0);
    }
  },
});

const say = defineCommand({
  name: "say",
  summary: "Say a text everywhere",
  example: "sample say hello",
  arguments: { what: required("TEXT", "what to say") },
  options: {},
  run({ what }, _, context) {
    context.log.warn(what);
    context.print(`${context.style.red(what)}\n`);
    context.result({ what }, () => `${what}\n`);
    throw new RandloraError("format", what, what);
  },
});

const work = defineCommand({
  name: "work",
  summary: "Show progress",
  example: "sample work",
  arguments: {},
  options: { pause: number({ help: "milliseconds for each part", default: 0 }) },
  async run(_, { pause }, context) {
    using progress = context.progress({ title: "working", bytes: 40e6, items: 40, unit: "tensors" });
    for (let part = 0; part < 40; part++) {
      progress.label(`model.layers.${part}`);
      progress.add({ bytes: 1e6, items: 1 });
      if (part === 20) context.log.warn("half-way");
      await Bun.sleep(pause);
    }
    progress.close();
    context.print("done\n");
  },
});

export const sample: Program = {
  name: "sample",
  version: "1.2.3",
  summary: "A program for tests",
  example: "sample mix base one",
  commands: [
    mix,
    fail,
    walk,
    wait,
    pour,
    say,
    defineGroup({ name: "show", summary: "Show things", commands: [work] }),
    // The template that CONTRIBUTING.md names.
    count,
  ],
  perCommand: ["gait"],
};

if (import.meta.main) await runProcess(sample, (status) => process.exit(status));
