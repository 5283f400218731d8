import { visible } from "../files/visible.ts";
import type { Style } from "./style.ts";

/** An error as lines: what happened, and what to do where that is known. Both may quote anything. */
export function errorLines(message: string, hint: string, style: Style): string[] {
  const lines = [`${style.red("error:")} ${visible(message)}`];
  return hint === "" ? lines : [...lines, `${style.cyan("hint:")} ${visible(hint)}`];
}
