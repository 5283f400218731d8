import { RandloraError } from "../../files/errors.ts";
import { checkSampling, chosenSeed, type SamplingOptions } from "../generation/sampling.ts";
import type { SessionSettings } from "../session.ts";
import { nearest } from "../../files/nearest.ts";
import { basename } from "node:path";
import { formatAmount } from "../../terminal/format.ts";
import type { AdapterChoice } from "../../adapters/merge/merged-checkpoint.ts";
import type { Chat } from "./chat.ts";

/** The sampling options by their names on the command line. */
const SAMPLING = {
  temperature: "temperature",
  "top-k": "topK",
  "top-p": "topP",
  "min-p": "minP",
  "repeat-penalty": "repeatPenalty",
  "presence-penalty": "presencePenalty",
  "frequency-penalty": "frequencyPenalty",
  seed: "seed",
} as const satisfies Readonly<Record<string, keyof SamplingOptions>>;

const NAMES = [...Object.keys(SAMPLING), "max-tokens"];

/** `/params`: every setting as it is, a row each. */
export function paramRows({ sampling, maxTokens }: SessionSettings): string[][] {
  const rows = Object.entries(SAMPLING).map(([name, key]) => [name, String(sampling[key])]);
  return [...rows, ["max-tokens", maxTokens === undefined ? "up to the context's end" : String(maxTokens)]];
}

/**
 * `/params NAME VALUE`: changes one setting.
 * @throws RandloraError `usage` for an unknown name or a value that makes no sense; nothing is changed then
 */
export function setParam(settings: SessionSettings, name: string, text: string): void {
  const value = Number(text);
  if (text.trim() === "" || Number.isNaN(value)) {
    throw usage(`${name}: ${text === "" ? "no value" : `${text} is no number`}`, settingNames());
  }
  if (name === "max-tokens") {
    if (!Number.isInteger(value) || value < 1) throw new RandloraError("usage", "max-tokens must be 1 or more");
    settings.maxTokens = value;
    return;
  }
  const key = Object.entries(SAMPLING).find(([known]) => known === name)?.[1];
  if (key === undefined) {
    const meant = nearest(name, NAMES);
    throw usage(`no setting is called ${name}`, meant === undefined ? settingNames() : `${meant}?`);
  }
  // As on the command line: -1 is a new one.
  const wanted = key === "seed" && Number.isInteger(value) ? chosenSeed(value) : value;
  settings.sampling = checkSampling({ ...settings.sampling, [key]: wanted });
}

function settingNames(): string {
  return `/params NAME VALUE, where NAME is ${NAMES.join(", ")}`;
}

/** Every command of the chat, in the order of `/help`. */
export const COMMANDS: readonly ChatCommand<Chat>[] = [
  {
    name: "adapter",
    value: "[on|off|PATH]",
    help: "show the adapters, switch them on or off, load another",
    async run(chat, value) {
      if (value === "") return chat.note(describeAdapters(chat));
      if (value === "on" && chat.adapters.length === 0) throw usage("no adapter was loaded", "/adapter PATH takes one");
      const wanted = value === "off" ? [] : value === "on" ? chat.adapters : await found(chat, value);
      if (wanted === undefined || !(await chat.setAdapters(wanted))) return;
      if (wanted.length > 0) chat.adapters = wanted;
      chat.note(describeAdapters(chat));
    },
  },
  {
    name: "scale",
    value: "[S]",
    help: "multiply the adapters' α/r by S",
    async run(chat, value) {
      if (value === "") return chat.note(describeAdapters(chat));
      const scale = Number(value);
      if (!Number.isFinite(scale)) throw usage(`${value} is no number`, "/scale 0.5");
      if (chat.adapters.length === 0) throw usage("no adapter was loaded", "/adapter PATH takes one");
      const wanted = chat.adapters.map(({ path }) => ({ path, scale }));
      if (!(await chat.setAdapters(wanted))) return;
      chat.adapters = wanted;
      chat.note(describeAdapters(chat));
    },
  },
  {
    name: "system",
    value: "[TEXT|off]",
    help: "show or change what the model is told to be",
    run(chat, value) {
      if (value !== "") chat.session.system = value === "off" ? undefined : value;
      chat.note(chat.session.system === undefined ? "no system message" : `system: ${chat.session.system}`);
    },
  },
  {
    name: "reset",
    also: ["clear", "new"],
    help: "forget what was said",
    run(chat) {
      chat.session.reset();
      chat.note("a new conversation");
    },
  },
  {
    name: "retry",
    also: ["regen"],
    help: "answer the last message again",
    async run(chat) {
      let asked = true;
      await chat.answer(async (options) => {
        const reply = await chat.session.retry(options);
        asked = reply !== undefined;
        return reply;
      });
      if (!asked) throw usage("nothing was said yet", "");
    },
  },
  {
    name: "undo",
    help: "take the last message and its answer back",
    run(chat) {
      const message = chat.session.undo();
      if (message === undefined) throw usage("nothing was said yet", "");
      const [first = ""] = message.split("\n");
      chat.note(`taken back: ${first}${first === message ? "" : " …"}`);
    },
  },
  {
    name: "save",
    value: "FILE",
    help: "write the conversation to a JSON file",
    async run(chat, value) {
      const file = requireValue(value, "/save FILE");
      const replaced = (await chat.session.save(file)) ? ", in place of the conversation that was there" : "";
      chat.note(`${formatAmount(chat.session.messages.length, "message")} written to ${file}${replaced}`);
    },
  },
  {
    name: "load",
    value: "FILE",
    help: "go on with a conversation from a file",
    async run(chat, value) {
      const count = await chat.session.load(requireValue(value, "/load FILE"));
      chat.note(`${formatAmount(count, "message")} read`);
    },
  },
  {
    name: "read",
    value: "FILE",
    help: "put a text file before the next message",
    async run(chat, value) {
      const file = requireValue(value, "/read FILE");
      const tokens = await chat.attach(file);
      if (tokens !== undefined)
        chat.note(`${basename(file)}: ${formatAmount(tokens, "token")}; they go before your next message`);
    },
  },
  {
    name: "params",
    also: ["set"],
    value: "[NAME VALUE]",
    help: "show the settings, or change one",
    run(chat, value) {
      const { settings } = chat.session;
      if (value !== "") {
        const [name = "", ...rest] = value.split(/\s+/);
        setParam(settings, name, rest.join(" "));
      }
      chat.table(paramRows(settings));
    },
  },
  {
    name: "stats",
    value: "[on|off]",
    help: "show numbers after each answer",
    run(chat, value) {
      if (value !== "" && value !== "on" && value !== "off") throw usage(`${value} is neither on nor off`, "/stats on");
      chat.showsStats = value === "" ? !chat.showsStats : value === "on";
      chat.note(`numbers after each answer: ${chat.showsStats ? "on" : "off"}`);
    },
  },
  {
    name: "help",
    also: ["?", "h"],
    help: "show this",
    run(chat) {
      chat.table(helpRows(COMMANDS));
      chat.note("A line that ends with \\, Alt-Enter and pasted text make messages of several lines.");
      chat.note(
        "// at the beginning sends a slash. Tab completes commands and files; Ctrl-R searches the history. Ctrl-C stops an answer, twice leaves.",
      );
    },
  },
  {
    name: "exit",
    also: ["quit", "bye", "q"],
    help: "leave (so does Ctrl-D)",
    run(chat) {
      chat.leaving = true;
    },
  },
];

/** The adapters that are part of the weights now, or that there are none. */
export function describeAdapters({ model, adapters }: Pick<Chat, "model" | "adapters">): string {
  const parts = model.adapters.map(({ path, scale }) => (scale === 1 ? path : `${path} (scale ${scale})`));
  if (parts.length > 0) return `adapter: ${parts.join(" + ")}`;
  return adapters.length === 0 ? "no adapter" : "adapter: off";
}

function requireValue(value: string, example: string): string {
  if (value === "") throw usage("no file was named", example);
  return value;
}

function usage(message: string, hint: string): RandloraError {
  return new RandloraError("usage", message, hint);
}

/** @returns undefined when Ctrl-C stopped the search */
async function found(chat: Chat, text: string): Promise<readonly AdapterChoice[] | undefined> {
  const path = await chat.findAdapter(text);
  return path === undefined ? undefined : [{ path, scale: 1 }];
}

/** A command of the chat: what a line that begins with a slash asks for. */
export interface ChatCommand<T> {
  /** Without the slash. */
  readonly name: string;
  /** Other names that people try. */
  readonly also?: readonly string[];
  /** What may follow it: `FILE`, `[TEXT]`. */
  readonly value?: string;
  readonly help: string;
  /** @param value what follows the name, without space around it; empty when nothing does */
  run(chat: T, value: string): Promise<void> | void;
}

/** What a line of the user's is: something to say, or a command. */
type ChatLine<T> =
  | { readonly kind: "message"; readonly text: string }
  | { readonly kind: "command"; readonly command: ChatCommand<T>; readonly value: string }
  | { readonly kind: "unknown"; readonly name: string; readonly meant: string | undefined };

/** Reads a line. `//` at the beginning is a slash that belongs to the message. */
export function readLine<T>(line: string, commands: readonly ChatCommand<T>[]): ChatLine<T> {
  if (!line.startsWith("/") || line.startsWith("//")) {
    return { kind: "message", text: line.startsWith("//") ? line.slice(1) : line };
  }
  const [, name = "", value = ""] = /^\/(\S*)\s*([\s\S]*)$/.exec(line) ?? [];
  const command = findCommand(name, commands);
  if (command !== undefined) return { kind: "command", command, value: value.trim() };
  const meant = nearest(
    name,
    commands.map((known) => known.name),
  );
  return { kind: "unknown", name, meant };
}

/** The command of this name, one that people try among them. */
export function findCommand<T>(name: string, commands: readonly ChatCommand<T>[]): ChatCommand<T> | undefined {
  return commands.find((known) => known.name === name || known.also?.includes(name) === true);
}

/** `/help`: a row for each command. */
export function helpRows<T>(commands: readonly ChatCommand<T>[]): string[][] {
  return commands.map(({ name, value, help }) => [`/${name}${value === undefined ? "" : ` ${value}`}`, help]);
}
