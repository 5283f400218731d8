/** Each pattern with "a", then each with "the", in place of its star. */
export function withArticles(patterns: readonly string[]): string[] {
  return ["a", "the"].flatMap((article) => patterns.map((pattern) => pattern.replace("*", article)));
}

/** Patterns of what a thing may be shown as, which several sets share. */
export function shownAs(...forms: readonly string[]): string[] {
  return forms.map((form) => `a ${form} of * {}.`);
}

/** Patterns of how a thing may be. */
export function being(...words: readonly string[]): string[] {
  return words.map((word) => `a photo of * ${word} {}.`);
}

/** Patterns of what a thing may be made of. */
export function madeAs(...words: readonly string[]): string[] {
  return words.map((word) => `* ${word} {}.`);
}
