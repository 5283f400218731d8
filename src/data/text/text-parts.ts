/**
 * Content in OpenAI's parts as one text, a line each, as llama.cpp and vLLM join them: most chat templates know nothing else.
 * @param fail throws what is wrong with a part, by its index
 */
export function joinTextParts(parts: readonly unknown[], fail: (index: number, problem: string) => never): string {
  const texts = parts.map((part, index) => {
    const fields: Readonly<Record<string, unknown>> = typeof part === "object" && part !== null ? { ...part } : {};
    const { type, text } = fields;
    if (typeof type !== "string") return fail(index, "not an object with type and text");
    if (type !== "text") return fail(index, `${type.slice(0, 40)}: only text is supported`);
    return typeof text === "string" ? text : fail(index, "a part of type text has a text");
  });
  return texts.join("\n");
}
