import { existsSync } from "node:fs";
import { isatty } from "node:tty";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import { brief } from "../../files/failure.ts";
import { decodeUtf8 } from "../../files/utf8.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import type { BlocksName, KvName } from "../../compute/device/dtype.ts";
import { localPath, refuseMissingModel } from "../../models/folder/local-path.ts";
import { History, historyFile } from "../../terminal/editor/history.ts";
import { RawTerminal } from "../../terminal/editor/raw-terminal.ts";
import type { Context } from "../../terminal/options/command.ts";
import { flagName } from "../../terminal/options/names.ts";
import { stdinBytes } from "../../terminal/read-input.ts";
import { isDumb } from "../../terminal/style.ts";
import { chooseModel, describeDefaultModel, findDefaultModel, runsWithoutTemplate } from "../default-model.ts";
import { CHAT_DEFAULTS } from "../generation/chat-defaults.ts";
import { fittingContext } from "../generation/fitting-context.ts";
import { chosenSeed, DEFAULT_SAMPLING, type SamplingOptions } from "../generation/sampling.ts";
import type { LanguageModel } from "../language-model.ts";
import { loadModel } from "../load-model.ts";
import { noTemplate, Session } from "../session.ts";
import { banner } from "./banner.ts";
import { Chat, type ChatParts } from "./chat.ts";
import { answerOnce } from "./once.ts";
import { runChat } from "./run.ts";

/** What `randlora chat` is told. */
export interface ChatFlags extends Omit<SessionFlags, "raw"> {
  readonly raw: boolean | undefined;
  readonly prompt: string | undefined;
  /** A prompt behind what comes on stdin. */
  readonly question: string | undefined;
  readonly chatTemplate: string | undefined;
  readonly adapter: readonly string[];
  readonly scale: readonly number[];
  readonly generator: GeneratorName | undefined;
  readonly dtype: "keep" | "f32" | "f16" | "bf16";
  readonly quantize: BlocksName | undefined;
  readonly kvType: KvName;
}

/** Gives one answer, or holds a conversation. @param named the model; undefined: the newest run or merged model here */
export async function chat(named: string | undefined, options: ChatFlags, context: Context): Promise<void> {
  const source = named ?? (await findDefaultModel(process.cwd()));
  if (options.question === undefined) refuseQuestion(source);
  refuseMissingModel(source);
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
  const prompt = options.prompt ?? (await readPrompt(options.question, raw, context));
  const started = performance.now();
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
  const fitting = await fittingContext(model.decoder, { asked: options.context, rows: options.beams });
  if (fitting.note !== undefined) context.log.warn(fitting.note);
  using session = await openSession(
    model,
    { ...options, raw, context: fitting.note === undefined ? options.context : fitting.context },
    context,
  );
  const loadSeconds = (performance.now() - started) / 1000;
  if (prompt === undefined) await converse(source, { session, model, adapters, generator, findAdapter }, context);
  else await answerOnce({ model, session, prompt, loadSeconds }, context);
}

/** Who forgets MODEL has a question there. @throws RandloraError `usage` */
function refuseQuestion(model: string): void {
  if (!/\s/.test(model.trim()) || existsSync(model)) return;
  const cause = `${brief(model)}: no such model, and it reads like a question`;
  throw new RandloraError(
    "usage",
    cause,
    'MODEL comes first: randlora chat MODEL "…"; without MODEL: randlora chat -p "…"',
  );
}

/** Milliseconds after which a program that waits for the end of stdin says so. */
const PATIENCE_MS = 2000;

/** What is on stdin, to its end: programs that start others often leave it open, and wonder. */
async function readStdin({ log }: Context): Promise<string> {
  const told = setTimeout(() => log.info("waiting for the end of stdin (-p leaves stdin alone)"), PATIENCE_MS);
  try {
    return decodeUtf8(await stdinBytes(), "stdin");
  } finally {
    clearTimeout(told);
  }
}

/** The text on stdin, and the question behind it; undefined where a person sits on a terminal and asks nothing yet. */
async function readPrompt(question: string | undefined, raw: boolean, context: Context): Promise<string | undefined> {
  const { json: asJson } = context;
  if (question !== undefined) {
    const text = isatty(0) ? "" : await readStdin(context);
    return text.trim() === "" ? question : `${text.trimEnd()}\n\n${question}`;
  }
  if (isatty(0)) {
    const dumb = isDumb(process.env);
    if (isatty(1) && !asJson && !dumb) return undefined;
    const kind = dumb ? "a terminal that moves its cursor (TERM is dumb)" : "a terminal";
    const message = asJson ? "--json gives one answer" : `a conversation needs ${kind}`;
    throw new RandloraError("usage", `${message}, and there is no prompt`, 'give it with -p "…", or on stdin');
  }
  const input = await readStdin(context);
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
  const idle = names.find((name) => flags[name] !== CHAT_DEFAULTS[name]);
  const asked = flags.temperature === 0 || flags.temperature === CHAT_DEFAULTS.temperature ? idle : "temperature";
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
  using terminal = RawTerminal.open();
  const history = History.load(historyFile(process.env));
  const chat = new Chat({ ...parts, terminal, history, style, signal });
  if (!quiet) for (const line of banner(source, chat)) chat.note(line);
  // As after a signal: in raw mode Ctrl-C is a key like others.
  if ((await runChat(chat)) === "interrupted") process.exitCode = 130;
}
