import { isatty } from "node:tty";
import type { LanguageModel } from "../language-model.ts";
import { replyJson } from "../reply-json.ts";
import type { Session } from "../session.ts";
import type { Context } from "../../terminal/options/context.ts";
import { quantizedJson } from "../../terminal/quantized.ts";
import { formatDuration, formatNumber } from "../../terminal/format.ts";
import { TextDisplay } from "./text-display.ts";

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
export async function answerOnce({ model, session, prompt, loadSeconds }: Question, context: Context): Promise<void> {
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
