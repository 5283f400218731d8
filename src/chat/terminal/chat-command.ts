import { existsSync, readdirSync } from "node:fs";
import { isatty } from "node:tty";
import { RandloraError } from "../../files/errors.ts";
import { brief } from "../../files/failure.ts";
import { decodeUtf8 } from "../../files/utf8.ts";
import { History, historyFile } from "../../terminal/editor/history.ts";
import { RawTerminal } from "../../terminal/editor/raw-terminal.ts";
import type { Context } from "../../terminal/options/command.ts";
import { stdinBytes } from "../../terminal/read-input.ts";
import { isDumb } from "../../terminal/style.ts";
import { describeDefaultModel, findDefaultModel } from "../default-model.ts";
import { chooseFormat, openChat } from "../open-chat.ts";
import type { ChatFlags } from "../options.ts";
import { Chat, type ChatParts } from "./chat.ts";
import { formatBytes, formatDuration, formatNumber } from "../../terminal/format.ts";
import { type ChatCommand, COMMANDS, describeAdapters, findCommand, readLine } from "./commands.ts";
import type { LanguageModel } from "../language-model.ts";
import { replyJson } from "../reply-json.ts";
import type { Session } from "../session.ts";
import { quantizedJson } from "../../terminal/quantized.ts";
import { TextDisplay } from "./text-display.ts";
import type { Completion } from "../../terminal/editor/line-editor.ts";

/** A prompt behind what comes on stdin. */
interface Asked {
  readonly question: string | undefined;
}

/** Gives one answer, or holds a conversation. @param named the model; undefined: the newest run or merged model here */
export async function chat(named: string | undefined, options: ChatFlags & Asked, context: Context): Promise<void> {
  const source = named ?? (await findDefaultModel(process.cwd()));
  if (options.question === undefined) refuseQuestion(source);
  const chosen = await chooseFormat(source, options).catch((thrown: unknown) => {
    throw options.question === undefined ? orQuestion(thrown, source) : thrown;
  });
  const prompt = options.prompt ?? (await readPrompt(options.question, chosen.raw, context));
  if (named === undefined) context.log.info(describeDefaultModel(source));
  await using opened = await openChat(chosen, options, context);
  if (prompt === undefined) await converse(source, { ...opened, generator: options.generator }, context);
  else await answerOnce({ ...opened, prompt }, context);
}

const QUESTION_HINT = 'MODEL comes first: randlora chat MODEL "…"; without MODEL: randlora chat -p "…"';

/** Who forgets MODEL has a question there. @throws RandloraError `usage` */
function refuseQuestion(model: string): void {
  if (!/\s/.test(model.trim()) || existsSync(model)) return;
  throw new RandloraError("usage", `${brief(model)}: no such model, and it reads like a question`, QUESTION_HINT);
}

/** One word may be a model's name that was mistyped, or a question: `randlora chat Hi`. @returns what is thrown */
function orQuestion(thrown: unknown, model: string): unknown {
  const isMissing = thrown instanceof RandloraError && thrown.code === "file" && !existsSync(model);
  if (!isMissing || !/^[\p{L}\p{M}]+[?!.]*$/u.test(model)) return thrown;
  return new RandloraError("file", thrown.message, [thrown.hint, QUESTION_HINT].filter(Boolean).join(". "), {
    cause: thrown,
  });
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

/** What a conversation begins with: what is loaded, where it runs, how to get help. */
function banner(source: string, chat: Chat): string[] {
  const { decoder, gpu, adapters } = chat.model;
  const { architecture } = decoder.config;
  const size = formatBytes(decoder.weights.bytes);
  const lines = [
    `${source} (${architecture}, ${size}, context ${formatNumber(chat.session.context)}) on ${gpu.info.name}`,
  ];
  if (adapters.length > 0) lines.push(describeAdapters(chat));
  if (chat.session.raw) lines.push("texts are continued as they stand");
  return [...lines, "/help shows the commands; Ctrl-C stops an answer, twice leaves"];
}

/** A question to be answered, and who is to answer it. */
export interface Question {
  readonly model: LanguageModel;
  readonly session: Session;
  readonly prompt: string;
  readonly loadSeconds: number;
}

/**
 * Gives one answer: its text as it is written, or everything about it as one JSON object. After a signal there is only
 * what had been written.
 * @param loadSeconds how long it took until the model could answer
 */
async function answerOnce({ model, session, prompt, loadSeconds }: Question, context: Context): Promise<void> {
  // Files and pipes get the model's text as it is.
  const display = isatty(1)
    ? new TextDisplay(context.print, context.style, !session.raw, () => context.columns)
    : undefined;
  const onText = (text: string): void => (display === undefined ? context.print(text) : display.push(text));
  const { signal } = context;
  const reply = await session.say(prompt, { signal, onText }).finally(() => display?.end());
  if (display === undefined && !reply.text.endsWith("\n")) context.print("\n");
  if (reply.finishReason === "cancelled") return;
  const profile = (await model.gpu.profiler?.report()) ?? [];
  for (const { kernel, calls, seconds } of profile) {
    context.log.info(`${kernel}: ${formatNumber(calls)} calls, ${formatDuration(seconds)}`);
  }
  context.result({
    ...replyJson(reply, loadSeconds),
    ...quantizedJson(model.quantized),
    ...(profile.length === 0 ? {} : { profile }),
  });
}

/**
 * Talks until the user leaves: `/exit`, Ctrl-D, Ctrl-C twice, or a signal.
 * @returns how it ended: "interrupted" after Ctrl-C twice
 */
async function runChat(chat: Chat): Promise<"left" | "interrupted"> {
  const prompt = { first: chat.style.bold("> "), next: chat.style.dim("· ") };
  const complete = (before: string) => completeLine(before, COMMANDS);
  while (!chat.leaving && !chat.signal.aborted) {
    const answer = await chat.editor.read(prompt, chat.signal, complete);
    if (answer.kind === "end") return "left";
    if (answer.kind === "cancelled") {
      if (chat.interrupted && answer.text === "") return "interrupted";
      chat.interrupted = true;
      chat.note("(Ctrl-C again leaves; so do Ctrl-D and /exit)");
      continue;
    }
    chat.interrupted = false;
    if (answer.text.trim() !== "") await obey(chat, answer.text);
  }
  return chat.interrupted ? "interrupted" : "left";
}

/** Runs a command, or answers a message. What fails is explained. */
async function obey(chat: Chat, text: string): Promise<void> {
  const line = readLine(text, COMMANDS);
  try {
    if (line.kind === "command") await line.command.run(chat, line.value);
    else if (line.kind === "message") await chat.answer((options) => chat.session.say(line.text, options));
    else {
      const meant = line.meant === undefined ? "/help shows the commands" : `did you mean /${line.meant}?`;
      chat.explain(new RandloraError("usage", `there is no /${line.name}; ${meant}`));
    }
  } catch (error) {
    chat.explain(error);
  }
}

/** What Tab offers before the cursor: names of commands, and what may follow one, words and files. */
export function completeLine<T>(before: string, commands: readonly ChatCommand<T>[]): Completion {
  const [, name = "", gap, given = ""] = /^\/(\S*)(\s+)?([^\n]*)$/.exec(before) ?? [];
  if (!before.startsWith("/") || before.startsWith("//") || before.includes("\n")) return { from: 0, candidates: [] };
  if (gap === undefined) {
    const known = commands.filter((command) => command.name.startsWith(name));
    const candidates = known.map((command) => (command.value === undefined ? command.name : `${command.name} `));
    return { from: 1, candidates };
  }
  const values = findCommand(name, commands)?.value?.match(/[A-Za-z]+/g) ?? [];
  const words = values.filter((value) => value === value.toLowerCase() && value.startsWith(given));
  const files = values.some((value) => value === "FILE" || value === "PATH") ? filesAt(given) : [];
  return { from: before.length - given.length, candidates: [...words, ...files] };
}

/** Paths that begin so; folders end with a slash. */
function filesAt(begun: string): string[] {
  const folder = begun.slice(0, begun.lastIndexOf("/") + 1);
  const name = begun.slice(folder.length);
  try {
    const entries = readdirSync(folder === "" ? "." : folder, { withFileTypes: true });
    const fitting = entries.filter((entry) => entry.name.startsWith(name) && (name !== "" || entry.name[0] !== "."));
    return fitting.map((entry) => `${folder}${entry.name}${entry.isDirectory() ? "/" : ""}`).toSorted();
  } catch {
    return [];
  }
}
