import { shownMessage } from "../files/shown-paths.ts";
import type { Style } from "./style.ts";

/** An error as lines: what happened, and what to do where that is known. Both may quote anything. */
export function errorLines(message: string, hint: string, style: Style): string[] {
  const lines = [`${style.red("error:")} ${shownMessage(message)}`];
  return hint === "" ? lines : [...lines, `${style.cyan("hint:")} ${shownMessage(hint)}`];
}
