import { visible } from "./visible.ts";

const names = new Map<string, string>();

/** Has messages call a folder of the cache what the user called it: the embedded model, a GGUF file. */
export function showPathAs(path: string, name: string): void {
  names.set(visible(path), visible(name));
}

/** A message as it is shown: what would steer the terminal is visible, and folders have the names that the user gave. */
export function shownMessage(text: string): string {
  // What lies in a folder may have a name of its own.
  const longestFirst = [...names].toSorted(([one], [other]) => other.length - one.length);
  return longestFirst.reduce((shown, [path, name]) => shown.replaceAll(path, () => name), visible(text));
}
