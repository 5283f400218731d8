import { expect, test } from "bun:test";
import { Screen } from "./screen.ts";

test("on a terminal a long line breaks between words; elsewhere it stays one", () => {
  const written = (isTTY: boolean): string => {
    const parts: string[] = [];
    const screen = new Screen({ isTTY, columns: 30, write: (text: string) => parts.push(text) > 0 });
    screen.line("hint: choose a smaller rank or give --checkpoint-activations");
    return parts.join("");
  };
  expect(written(false)).toBe("hint: choose a smaller rank or give --checkpoint-activations\n");
  expect(written(true)).toBe("hint: choose a smaller rank or\ngive --checkpoint-activations\n");
});
