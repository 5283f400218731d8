/*
 * What is in a file must not steer the terminal that shows it: names of tensors and tokens, paths and models' answers may
 * hold ESC, C1 controls (U+009B does what ESC [ does) and marks that reorder what is read.
 */

/** C0 but tab and newline, DEL, C1, and the controls that embed, override or isolate writing directions. */
// oxlint-disable-next-line no-control-regex -- they are what is made visible
const STEERING = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** Text of one line: what would steer the terminal stands as Unicode's symbol of it (U+2400 …), or as U+FFFD. */
export function visible(text: string): string {
  return visibleLines(text).replaceAll("\n", "␊").replaceAll("\t", "␉");
}

/** As {@link visible}, for text of several lines: newlines and tabs stay. */
export function visibleLines(text: string): string {
  return text.replaceAll(STEERING, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : "\uFFFD";
  });
}

/** Text in double quotes as JSON has it, with an escape for everything that would steer the terminal. */
export function escaped(text: string): string {
  return JSON.stringify(text).replaceAll(
    STEERING,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
