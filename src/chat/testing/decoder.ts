import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { Decoder } from "../../models/decoder/decoder.ts";
import { ChatTemplate } from "../../data/text/chat-template.ts";
import { loadTokenizer } from "../../data/text/load-tokenizer.ts";
import type { Writer } from "../generation/reply.ts";
import { DEFAULT_SAMPLING, type SamplingOptions } from "../generation/sampling.ts";

export const GREEDY: SamplingOptions = { ...DEFAULT_SAMPLING, temperature: 0 };

/** The stories model, ready to write; close the GPU in the end. */
export async function loadStories(): Promise<Writer & { readonly gpu: Device }> {
  const gpu = await openTestDevice();
  const [decoder, tokenizer] = await Promise.all([Decoder.load(gpu, STORIES), loadTokenizer(STORIES)]);
  return { gpu, decoder, tokenizer, stopTokens: new Set() };
}

/** A template that stories can make something of: everything in a row, the user's lines in brackets. */
export function storyTemplate(): ChatTemplate {
  const source =
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}\n{% elif m.role == 'user' %}" +
    "({{ m.content }}) {% else %}{{ m.content }}\n{% endif %}{% endfor %}";
  return new ChatTemplate(source, "stories.jinja", { bos_token: "<s>" });
}
