import { isatty } from "node:tty";
import { Contradiction, RandloraError } from "../src/files/errors.ts";
import { flagName } from "../src/terminal/options/names.ts";
import type { LanguageModel } from "../src/chat/language-model.ts";
import type { SamplingOptions } from "../src/chat/generation/sampling.ts";
import type { Session } from "../src/chat/session.ts";
import {
  choice,
  type Context,
  defineCommand,
  flag,
  integer,
  json,
  number,
  optional,
  repeat,
  text,
  toggle,
} from "../src/terminal/options/command.ts";
import { GENERATOR_NAMES } from "../src/compute/random/names.ts";
import type { ChatParts } from "../src/chat/terminal/chat.ts";
import { stdinBytes } from "../src/terminal/read-input.ts";
import { contextOption } from "../src/terminal/options/shared/context.ts";
import { loadModel } from "../src/chat/load-model.ts";
import { quantizeOption } from "../src/terminal/options/shared/quantize.ts";

/** What is sampled by default. */
const DEFAULTS = {
  temperature: 0.8,
  topK: 40,
  topP: 0.95,
  minP: 0.05,
  repeatPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: undefined,
  shift: false,
} as const;

/** `randlora chat`: talks to a model, one answer or a whole conversation. */
export const command = defineCommand({
  name: "chat",
  otherNames: ["generate", "run", "talk", "infer"],
  summary: "Talk to a model, with or without adapters",
  example: 'randlora chat HuggingFaceTB/SmolLM2-135M-Instruct --adapter my-adapter -p "Why is the sky blue?"',
  arguments: {
    model: optional(
      "MODEL",
      "a model's folder or one of its files, a run, org/name on the Hub, or embedded; default: the newest run or merged model here",
    ),
  },
  options: {
    prompt: text({
      short: "p",
      topic: "Text",
      help: "prompt: print one answer and exit",
      defaultText: "what comes on stdin; on a terminal a conversation",
    }),
    system: text({ topic: "Text", help: "system message" }),
    raw: toggle({
      topic: "Text",
      help: "continue the prompt as it stands, without the chat template",
      defaultText: "as the run's samples were written out",
    }),
    chatTemplate: text({ value: "FILE", topic: "Text", help: "chat template (Jinja)", defaultText: "the model's own" }),
    chatTemplateKwargs: json({
      topic: "Text",
      help: 'variables for the chat template, such as {"enable_thinking": false}',
    }),
    adapter: repeat(text({ value: "A", topic: "Adapters", help: "adapter to add; may be given several times" })),
    scale: repeat(
      number({
        value: "S",
        topic: "Adapters",
        help: "adapter scale: multiplies α/r; once for all, or once for each adapter",
      }),
    ),
    generator: choice(GENERATOR_NAMES, {
      value: "NAME",
      topic: "Adapters",
      help: "random generator of the bases, if the adapter does not record it",
    }),
    maxTokens: integer({
      short: "n",
      topic: "Answers",
      help: "maximum number of tokens in an answer",
      min: 1,
      defaultText: "up to the context's end",
    }),
    temperature: number({
      value: "T",
      topic: "Answers",
      help: "sampling temperature; 0 always takes the most likely token",
      min: 0,
      default: DEFAULTS.temperature,
    }),
    topK: integer({
      value: "K",
      topic: "Answers",
      help: "top-k sampling: number of tokens to choose from; 0 disables it",
      min: 0,
      default: DEFAULTS.topK,
    }),
    topP: number({
      value: "P",
      topic: "Answers",
      help: "top-p sampling: cumulative probability of the tokens to choose from",
      above: 0,
      max: 1,
      default: DEFAULTS.topP,
    }),
    minP: number({
      value: "P",
      topic: "Answers",
      help: "min-p sampling: minimum probability relative to the most likely token",
      min: 0,
      max: 1,
      default: DEFAULTS.minP,
    }),
    repeatPenalty: number({
      value: "R",
      topic: "Answers",
      help: "repetition penalty; 1 disables it",
      above: 0,
      default: DEFAULTS.repeatPenalty,
    }),
    presencePenalty: number({
      topic: "Answers",
      help: "presence penalty: subtracted from the logit of a token that occurred recently",
      default: DEFAULTS.presencePenalty,
    }),
    frequencyPenalty: number({
      topic: "Answers",
      help: "frequency penalty: subtracted from a token's logit for each recent occurrence",
      default: DEFAULTS.frequencyPenalty,
    }),
    beams: integer({
      value: "N",
      topic: "Answers",
      help: "number of beams of a beam search, which does not sample and prints the answer at its end",
      min: 1,
      max: 64,
      default: 1,
    }),
    seed: integer({
      value: "S",
      topic: "Answers",
      help: "random seed of sampling",
      min: -1,
      defaultText: "-1: a new one each time",
    }),
    stop: repeat(
      text({ topic: "Answers", help: "stop sequence: end the answer before this text; may be given several times" }),
    ),
    context: contextOption({
      topic: "Answers",
      help: "context length in tokens (KV cache)",
      defaultText: "the model's own",
    }),
    shift: flag({
      topic: "Answers",
      help: "shift the context when it is full: forget the oldest tokens instead of ending",
    }),
    dtype: choice(["keep", "f32", "f16", "bf16"], {
      topic: "Model",
      help: "number format of the weight matrices",
      default: "keep",
    }),
    quantize: quantizeOption({ topic: "Model" }),
  },
  // What most people need; the rest is in --help-all.
  shown: [
    "prompt",
    "system",
    "raw",
    "adapter",
    "scale",
    "maxTokens",
    "temperature",
    "topK",
    "topP",
    "seed",
    "context",
    "quantize",
  ],
  async run({ model: named }, options, context) {
    const { chooseModel, describeDefaultModel, findDefaultModel, runsWithoutTemplate } =
      await import("../src/chat/default-model.ts");
    const source = named ?? (await findDefaultModel(process.cwd()));
    const { system, chatTemplate, chatTemplateKwargs } = options;
    const wantsTemplate = (system ?? chatTemplate ?? chatTemplateKwargs) !== undefined;
    if (options.raw === true && wantsTemplate) {
      const message = "--raw takes no chat template, and so no --system, --chat-template and --chat-template-kwargs";
      throw new Contradiction(["raw", "system", "chatTemplate", "chatTemplateKwargs"], message, "leave --raw out");
    }
    if (options.beams > 1) checkSearch(options);
    const said = wantsTemplate || options.raw !== undefined;
    const rawRuns = said ? [] : await runsWithoutTemplate([source, ...options.adapter]);
    const raw = options.raw ?? rawRuns.length > 0;
    const prompt = options.prompt ?? (await readPrompt(raw, context));
    const started = performance.now();
    const { localPath } = await import("../src/models/folder/places.ts");
    const { adapter, scale: scales, generator } = options;
    const findAdapter = (name: string): Promise<string> => localPath(name, "adapter", context);
    const { location, adapters } = await chooseModel(
      { model: source, adapters: adapter, scales, generator },
      { model: (name) => localPath(name, "model", context), adapter: findAdapter },
    );
    if (named === undefined) context.log.info(describeDefaultModel(source));
    await using model = await loadModel(location, { ...options, raw }, context);
    if (rawRuns.length > 0 && model.template !== undefined) {
      const of = rawRuns.join(", ");
      context.log.info(`${of}: trained without the chat template: texts are continued as they stand (--no-raw)`);
    }
    const notes = await model.setAdapters(adapters, { generator, signal: context.signal });
    for (const line of [...model.notes, ...notes]) context.log.warn(line);
    using session = await openSession(model, { ...options, raw }, context);
    const loadSeconds = (performance.now() - started) / 1000;
    if (prompt === undefined) await converse(source, { session, model, adapters, generator, findAdapter }, context);
    else {
      const { answerOnce } = await import("../src/chat/terminal/once.ts");
      await answerOnce({ model, session, prompt, loadSeconds }, context);
    }
  },
});

/** The prompt on stdin; undefined where a person sits on a terminal. */
async function readPrompt(raw: boolean, { json: asJson }: Context): Promise<string | undefined> {
  if (isatty(0)) {
    const { isDumb } = await import("../src/terminal/style.ts");
    const dumb = isDumb(process.env);
    if (isatty(1) && !asJson && !dumb) return undefined;
    const kind = dumb ? "a terminal that moves its cursor (TERM is dumb)" : "a terminal";
    const message = asJson ? "--json gives one answer" : `a conversation needs ${kind}`;
    throw new RandloraError("usage", `${message}, and there is no prompt`, 'give it with -p "…", or on stdin');
  }
  const { decodeUtf8 } = await import("../src/files/utf8.ts");
  const input = decodeUtf8(await stdinBytes(), "stdin");
  if (input.trim() === "") throw new RandloraError("usage", "no prompt", 'give it with -p "…", or on stdin');
  // A shell's `echo` ends with a newline that nobody meant to say; a text to be continued is taken as it stands.
  return raw ? input : input.replace(/\r?\n$/, "");
}

/**
 * A search takes the likeliest tokens: what would change them, or show some of them early, is refused.
 * @throws RandloraError `usage`
 */
function checkSearch(flags: Omit<SessionFlags, "raw">): void {
  const names = [
    "topK",
    "topP",
    "minP",
    "repeatPenalty",
    "presencePenalty",
    "frequencyPenalty",
    "seed",
    "shift",
  ] as const;
  const idle = names.find((name) => flags[name] !== DEFAULTS[name]);
  const asked = flags.temperature === 0 || flags.temperature === DEFAULTS.temperature ? idle : "temperature";
  if (asked === undefined) return;
  const cause = `--beams searches without sampling, and so takes no --${flagName(asked)}`;
  throw new Contradiction([asked, "beams"], cause, "leave it out");
}

interface SessionFlags extends Omit<SamplingOptions, "seed" | "penaltyWindow"> {
  readonly raw: boolean;
  readonly system: string | undefined;
  readonly chatTemplateKwargs: Readonly<Record<string, unknown>> | undefined;
  readonly maxTokens: number | undefined;
  readonly beams: number;
  readonly seed: number | undefined;
  readonly stop: readonly string[];
  readonly context: number | undefined;
  readonly shift: boolean;
}

async function openSession(model: LanguageModel, flags: SessionFlags, { log }: Context): Promise<Session> {
  const { chosenSeed, DEFAULT_SAMPLING } = await import("../src/chat/generation/sampling.ts");
  const { noTemplate, Session } = await import("../src/chat/session.ts");
  const { temperature, topK, topP, minP, repeatPenalty, presencePenalty, frequencyPenalty, context } = flags;
  const template = flags.raw ? undefined : model.template;
  if (template === undefined && !flags.raw) {
    if (flags.system !== undefined) throw noTemplate("--system");
    // As llama.cpp has it: a model without a template continues texts.
    log.info("this model has no chat template: texts are continued as they stand (--chat-template FILE gives one)");
  }
  const longest = model.decoder.config.contextLength;
  if (context !== undefined && context > longest) {
    log.warn(
      `--context ${context}: the model was made for ${longest} tokens; beyond them its answers may make no sense`,
    );
  }
  const penalties = { repeatPenalty, presencePenalty, frequencyPenalty };
  const seed = chosenSeed(flags.seed);
  return new Session(model, {
    template,
    templateVariables: flags.chatTemplateKwargs,
    system: flags.system,
    sampling: { ...DEFAULT_SAMPLING, temperature, topK, topP, minP, ...penalties, seed },
    maxTokens: flags.maxTokens,
    beams: flags.beams,
    stops: flags.stop,
    context,
    shift: flags.shift,
  });
}

async function converse(
  source: string,
  parts: Pick<ChatParts, "session" | "model" | "adapters" | "generator" | "findAdapter">,
  { style, signal, quiet }: Context,
): Promise<void> {
  const { Chat } = await import("../src/chat/terminal/chat.ts");
  const { runChat } = await import("../src/chat/terminal/run.ts");
  const { banner } = await import("../src/chat/terminal/banner.ts");
  const { History, historyFile } = await import("../src/terminal/editor/history.ts");
  const { RawTerminal } = await import("../src/terminal/editor/raw-terminal.ts");
  using terminal = RawTerminal.open();
  const history = History.load(historyFile(process.env));
  const chat = new Chat({ ...parts, terminal, history, style, signal });
  if (!quiet) for (const line of banner(source, chat)) chat.note(line);
  // As after a signal: in raw mode Ctrl-C is a key like others.
  if ((await runChat(chat)) === "interrupted") process.exitCode = 130;
}
