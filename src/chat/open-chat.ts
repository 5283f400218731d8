import type { AdapterChoice } from "../adapters/merge/merged-checkpoint.ts";
import { Contradiction } from "../files/errors.ts";
import { localPath, refuseMissingModel } from "../models/folder/local-path.ts";
import { runsWithoutTemplate } from "../models/folder/runs-without-template.ts";
import type { Context } from "../terminal/options/command.ts";
import { absentValues } from "../terminal/options/option.ts";
import { flagName } from "../terminal/options/names.ts";
import { chooseModel, loadModel } from "./default-model.ts";
import { fittingContext } from "./generation/fitting-context.ts";
import { chosenSeed, DEFAULT_SAMPLING } from "./generation/sampling.ts";
import type { LanguageModel } from "./language-model.ts";
import { CHAT_OPTIONS, type ChatFlags } from "./options.ts";
import { noTemplate, Session } from "./session.ts";

/** What a chat is told before its first message. */
type OpenChatFlags = Omit<ChatFlags, "prompt">;

/** A model as it was named, and whether its texts are continued without a template. */
export interface ChosenFormat {
  readonly source: string;
  readonly raw: boolean;
  /** The runs that decided so. */
  readonly rawRuns: readonly string[];
}

/** A model that answers; leaving the scope gives it back, and its device. */
export interface OpenedChat extends AsyncDisposable {
  readonly model: LanguageModel;
  readonly session: Session;
  readonly adapters: readonly AdapterChoice[];
  /** Finds an adapter that is given by path or by name on the Hub. */
  readonly findAdapter: (text: string, signal?: AbortSignal) => Promise<string>;
  /** How long it took until the model could answer. */
  readonly loadSeconds: number;
}

/** Checks flags, and how messages become prompts. @throws RandloraError `usage`; `file` for a model that is not there */
export async function chooseFormat(source: string, options: OpenChatFlags): Promise<ChosenFormat> {
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
  return { source, raw: options.raw ?? rawRuns.length > 0, rawRuns };
}

/** Loads a model with its adapters. @throws RandloraError as `loadModel` and `LanguageModel.setAdapters` */
export async function openChat(
  { source, raw, rawRuns }: ChosenFormat,
  options: OpenChatFlags,
  context: Context,
): Promise<OpenedChat> {
  const started = performance.now();
  const { adapter, scale: scales, generator } = options;
  const findAdapter = (name: string, signal = context.signal): Promise<string> =>
    localPath(name, "adapter", { ...context, signal });
  const { location, adapters } = await chooseModel(
    { model: source, adapters: adapter, scales, generator },
    { model: (name) => localPath(name, "model", context), adapter: (name) => findAdapter(name) },
  );
  await using resources = new AsyncDisposableStack();
  const model = resources.use(await loadModel(location, { ...options, raw }, context));
  if (rawRuns.length > 0 && model.template !== undefined) {
    const of = rawRuns.join(", ");
    context.log.info(`${of}: trained without the chat template: texts are continued as they stand (--no-raw)`);
  }
  const notes = await model.setAdapters(adapters, { generator, signal: context.signal });
  for (const line of [...model.notes, ...notes]) context.log.warn(line);
  const fitting = await fittingContext(model.decoder, { asked: options.context, rows: options.beams });
  for (const note of fitting.notes) context.log.warn(note);
  const session = resources.use(await openSession(model, { ...options, raw, context: fitting.context }, context));
  const loadSeconds = (performance.now() - started) / 1000;
  const kept = resources.move();
  return { model, session, adapters, findAdapter, loadSeconds, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/**
 * A search takes the likeliest tokens: what would change them, or show some of them early, is refused.
 * @throws RandloraError `usage`
 */
function checkSearch(flags: OpenChatFlags): void {
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
  const absent = absentValues(CHAT_OPTIONS);
  const idle = names.find((name) => flags[name] !== absent[name]);
  const asked = flags.temperature === 0 || flags.temperature === absent.temperature ? idle : "temperature";
  if (asked === undefined) return;
  const cause = `--beams searches without sampling, and so takes no --${flagName(asked)}`;
  throw new Contradiction([asked, "beams"], cause, "leave it out");
}

async function openSession(
  model: LanguageModel,
  flags: Omit<OpenChatFlags, "raw"> & Pick<ChosenFormat, "raw">,
  { log }: Context,
): Promise<Session> {
  const { temperature, topK, topP, minP, repeatPenalty, presencePenalty, frequencyPenalty, context } = flags;
  const template = flags.raw ? undefined : model.template;
  if (template === undefined && !flags.raw) {
    if (flags.system !== undefined) throw noTemplate("--system");
    // As llama.cpp has it: a model without a template continues texts.
    log.info("this model has no chat template: texts are continued as they stand (--chat-template FILE gives one)");
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
