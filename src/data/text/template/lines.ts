/** Where a block of a template stands: `{% … %}` or `{{ … }}`. */
export interface Block {
  /** From 1. */
  readonly line: number;
  /** Just behind the closing braces; the template's length when they are missing. */
  readonly end: number;
}

/**
 * Finds the blocks of a Jinja template, comments left out, in the order in which a lexer opens them. (The parser keeps
 * no positions, and an error without a line is of little use in a template of 200.)
 */
export function findBlocks(source: string): Block[] {
  const blocks: Block[] = [];
  const opening = /\{[%{#]/g;
  let line = 1;
  let counted = 0;
  for (let match = opening.exec(source); match !== null; match = opening.exec(source)) {
    const comment = match[0] === "{#";
    const end = comment ? endOfComment(source, opening.lastIndex) : endOfBlock(source, opening.lastIndex, match[0]);
    for (; counted < match.index; counted++) if (source.charAt(counted) === "\n") line++;
    if (!comment) blocks.push({ line, end });
    opening.lastIndex = end;
  }
  return blocks;
}

function endOfComment(source: string, from: number): number {
  const end = source.indexOf("#}", from);
  return end < 0 ? source.length : end + 2;
}

/** Strings may hold braces, and `{{ {"a": {}} }}` holds objects. */
function endOfBlock(source: string, from: number, open: string): number {
  const close = open === "{%" ? "%}" : "}}";
  let depth = 0;
  for (let at = from; at < source.length; at++) {
    const character = source.charAt(at);
    if (character === "'" || character === '"') {
      at = endOfString(source, at, character);
    } else if (depth === 0 && source.startsWith(close, at)) {
      return at + 2;
    } else if (character === "{") {
      depth++;
    } else if (character === "}") {
      depth = Math.max(0, depth - 1);
    }
  }
  return source.length;
}

function endOfString(source: string, start: number, quote: string): number {
  let at = start + 1;
  while (at < source.length && source.charAt(at) !== quote) at += source.charAt(at) === "\\" ? 2 : 1;
  return at;
}
