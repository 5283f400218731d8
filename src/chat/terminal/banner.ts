import { formatBytes, formatNumber } from "../../terminal/format.ts";
import type { Chat } from "./chat.ts";
import { describeAdapters } from "./commands.ts";

/** What a conversation begins with: what is loaded, where it runs, how to get help. */
export function banner(source: string, chat: Chat): string[] {
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
