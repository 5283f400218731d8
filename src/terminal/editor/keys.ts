/**
 * What a person did at the keyboard. Names of keys are Emacs-like, modifiers in the order ctrl, alt, shift: `ctrl-a`,
 * `alt-b`, `ctrl-left`, `enter`, `alt-enter`.
 */
export type Key =
  | { readonly kind: "text"; readonly text: string }
  /** Text that the terminal says was pasted (bracketed paste, `CSI ? 2004 h`): newlines in it are text. */
  | { readonly kind: "paste"; readonly text: string }
  | { readonly kind: "key"; readonly name: string };

const ESC = "\x1b";
const PASTE_START = `${ESC}[200~`;
const PASTE_END = `${ESC}[201~`;

/** Final characters of `CSI` and `SS3` sequences (xterm's ctlseqs). */
const LETTERS: Readonly<Record<string, string>> = {
  A: "up",
  B: "down",
  C: "right",
  D: "left",
  F: "end",
  H: "home",
  Z: "shift-tab",
};

/** Numbers before `~`, VT220's and rxvt's. */
const NUMBERS: Readonly<Record<string, string>> = {
  "1": "home",
  "2": "insert",
  "3": "delete",
  "4": "end",
  "5": "page-up",
  "6": "page-down",
  "7": "home",
  "8": "end",
};

const CONTROLS: Readonly<Record<string, string>> = {
  "\r": "enter",
  "\t": "tab",
  "\x08": "backspace",
  "\x7f": "backspace",
  "\x1b": "escape",
  "\x00": "ctrl-space",
};

/** `CSI parameters intermediates final` (ECMA-48, 5.4). */
// oxlint-disable-next-line no-control-regex -- escape sequences begin with one
const CSI = /^\x1b\[([0-?]*)[ -/]*([@-~])/;
// oxlint-disable-next-line no-control-regex -- see above
const UNFINISHED = /^\x1b(?:\x1b?(?:\[[0-?]*[ -/]*|O)?)?$/;

/**
 * Turns a terminal's bytes into keys. Characters and sequences may arrive in pieces; what is not complete is held back.
 * A lone ESC is either the Escape key or the beginning of a sequence: only time tells, so when nothing follows for some
 * milliseconds call `flush`.
 */
export class KeyReader {
  readonly #decoder = new TextDecoder();
  #held = "";
  #pasted: string[] | undefined;

  /** Whether something is held back that `flush` would decide. */
  get waiting(): boolean {
    return this.#held !== "" && this.#pasted === undefined;
  }

  /** @returns the keys that are complete now */
  push(bytes: Uint8Array): Key[] {
    const keys: Key[] = [];
    let text = this.#held + this.#decoder.decode(bytes, { stream: true });
    this.#held = "";
    while (text !== "") {
      const rest = this.#pasted === undefined ? this.#readKey(text, keys) : this.#readPaste(text, this.#pasted, keys);
      if (rest === undefined) {
        this.#held = text;
        break;
      }
      text = rest;
    }
    return keys;
  }

  /** Decides what is held back: ESC alone is the Escape key, anything longer no key at all. */
  flush(): Key[] {
    if (!this.waiting) return [];
    const lone = this.#held === ESC;
    this.#held = "";
    return lone ? [{ kind: "key", name: "escape" }] : [];
  }

  /** Takes one key off the front; undefined when it is not complete. */
  #readKey(text: string, keys: Key[]): string | undefined {
    if (text.startsWith(PASTE_START)) {
      this.#pasted = [];
      return text.slice(PASTE_START.length);
    }
    if (UNFINISHED.test(text)) return undefined;
    if (text.startsWith(ESC)) return readEscape(text, keys);
    const first = text[0] ?? "";
    if (isControl(first)) {
      keys.push({ kind: "key", name: controlName(first) });
      return text.slice(1);
    }
    // oxlint-disable-next-line no-control-regex -- they are where the text ends
    const [run = first] = /^[^\u0000-\u001f\u007f]+/.exec(text) ?? [];
    keys.push({ kind: "text", text: run });
    return text.slice(run.length);
  }

  /** Collects pasted text up to its end mark, of which a part may have come. */
  #readPaste(text: string, pasted: string[], keys: Key[]): string | undefined {
    const end = text.indexOf(PASTE_END);
    if (end >= 0) {
      pasted.push(text.slice(0, end));
      this.#pasted = undefined;
      keys.push({ kind: "paste", text: cleanPaste(pasted.join("")) });
      return text.slice(end + PASTE_END.length);
    }
    const escape = text.lastIndexOf(ESC);
    const cut = escape >= 0 && PASTE_END.startsWith(text.slice(escape)) ? escape : text.length;
    if (cut === 0) return undefined;
    pasted.push(text.slice(0, cut));
    return text.slice(cut);
  }
}

function readEscape(text: string, keys: Key[]): string {
  // Some terminals send Alt with an arrow as ESC before the whole sequence.
  const alt = text.startsWith(ESC + ESC) && /^[[O]/.test(text.slice(2));
  const sequence = alt ? text.slice(1) : text;
  const csi = CSI.exec(sequence);
  if (csi !== null) {
    const name = csiName(csi[1] ?? "", csi[2] ?? "");
    if (name !== undefined) keys.push({ kind: "key", name: alt ? `alt-${name}` : name });
    return sequence.slice(csi[0].length);
  }
  if (sequence.startsWith(`${ESC}O`)) {
    const name = sequence[2] === "M" ? "enter" : LETTERS[sequence[2] ?? ""];
    if (name !== undefined) keys.push({ kind: "key", name: alt ? `alt-${name}` : name });
    return sequence.slice(3);
  }
  const [character = ""] = sequence.slice(1);
  if (character === "[") return sequence.slice(2); // a sequence that is none
  const name = isControl(character) ? controlName(character) : character.toLowerCase();
  keys.push({ kind: "key", name: `alt-${name}` });
  return sequence.slice(1 + character.length);
}

/** The key of a `CSI` sequence; undefined for what is no key (reports, mouse, focus). */
function csiName(parameters: string, final: string): string | undefined {
  const [first = "", second = "", third = ""] = parameters.split(";");
  const letter = LETTERS[final];
  if (letter !== undefined) return modified(letter, second);
  if (final === "u") return characterName(first, second); // kitty's keyboard protocol
  if (final !== "~") return undefined;
  if (first === "27") return characterName(third, second); // xterm's modifyOtherKeys
  const name = NUMBERS[first];
  return name === undefined ? undefined : modified(name, second);
}

function characterName(code: string, modifiers: string): string | undefined {
  const number = Number(code);
  if (!Number.isInteger(number) || number < 1 || number > 0x10ffff) return undefined;
  const character = String.fromCodePoint(number);
  const name = modified(isControl(character) ? controlName(character) : character, modifiers);
  // Shift-Enter is how other programs begin a new line; plain terminals cannot tell it from Enter.
  return name === "shift-enter" ? "alt-enter" : name;
}

/** xterm's modifier parameter: 1 + shift + 2·alt + 4·ctrl. */
function modified(name: string, parameter: string): string {
  const bits = Math.max(0, (Number.parseInt(parameter, 10) || 1) - 1);
  return `${bits & 4 ? "ctrl-" : ""}${bits & 2 ? "alt-" : ""}${bits & 1 ? "shift-" : ""}${name}`;
}

function isControl(character: string): boolean {
  return character < " " || character === "\x7f";
}

function controlName(character: string): string {
  const name = CONTROLS[character];
  if (name !== undefined) return name;
  return `ctrl-${String.fromCharCode(character.charCodeAt(0) + 0x60)}`;
}

/** Line ends as newlines; other control characters are nothing that a person meant to say. */
function cleanPaste(text: string): string {
  // oxlint-disable-next-line no-control-regex -- they are what is taken out
  return text.replaceAll(/\r\n?/g, "\n").replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f]/g, "");
}
