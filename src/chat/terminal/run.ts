import { RandloraError } from "../../files/errors.ts";
import type { Chat } from "./chat.ts";
import { readLine } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import { completeLine } from "./complete.ts";

/**
 * Talks until the user leaves: `/exit`, Ctrl-D, Ctrl-C twice, or a signal.
 * @returns how it ended: "interrupted" after Ctrl-C twice
 */
export async function runChat(chat: Chat): Promise<"left" | "interrupted"> {
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
