// The gated delta rule over several tokens of a text, or of texts from their first tokens on: a head's state lies in scratch by panels of
// its columns, and goes through a block's tokens panel by panel. The bits are the module's, which walks where there is one token.
import { GATED_DELTA, MOST_CHUNK } from "../../families/gated-delta.ts";
import { wordsOf } from "../../parameters.ts";
import type { Caller } from "../caller.ts";
import { WALK } from "../routines/delta-walk.ts";
import { bitsOf } from "../routines/functions.ts";
import { ROW_PITCH } from "../routines/layout.ts";
import { panelOfRows } from "./attention-panels.ts";
import { firstOf, numbersOf } from "./delta-gates.ts";
import { copyRows, fours } from "./tiles.ts";

const AT = wordsOf(GATED_DELTA);

export function gatedDelta(on: Caller, parameters: number, head: number): void {
  const word = on.reader(parameters, AT.count);
  const { panelCols } = on.code;
  const [heads, keyHeads, keySize, valueSize] = [
    word(AT.heads),
    word(AT.keyHeads),
    word(AT.keySize),
    word(AT.valueSize),
  ];
  const [tokens, block, states, begin] = [word(AT.tokens), word(AT.block), word(AT.states), word(AT.firstPosition)];
  const numbers = numbersOf(on);
  const width = panelCols * 4;
  const x = on.scratch;
  const values = x + MOST_CHUNK * ROW_PITCH;
  const turned = values + MOST_CHUNK * width;
  const state = turned + panelCols * width;
  const panelBytes = keySize * width;
  const query = word(AT.qk) + Math.floor(head / (heads / keyHeads)) * keySize * 4;
  const eachPanel = (body: (col: number, cols: number, panel: number) => void): void => {
    for (let col = 0; col < valueSize; col += panelCols) {
      body(col, Math.min(panelCols, valueSize - col), state + (col / panelCols) * panelBytes);
    }
  };

  const rowOf = (token: number): number =>
    states + Math.floor((begin + token) / block) * word(AT.statesPitch) + head * valueSize * keySize * 4;
  for (let token = 0; token < tokens;) {
    if (begin + token === firstOf(on, word, token)) {
      numbers.fill(0, state / 4, (state + Math.ceil(valueSize / panelCols) * panelBytes) / 4);
    } else if (token === 0) {
      eachPanel((col, cols, panel) => {
        panelOfRows(on, rowOf(-1) + col * keySize * 4, keySize * 4, cols, keySize, panel);
      });
    }
    // Up to where a block ends, or another text begins.
    const most = Math.min(tokens - token, block - ((begin + token) % block), MOST_CHUNK);
    let count = 1;
    while (count < most && begin + token + count !== firstOf(on, word, token + count)) count++;
    copyRows(on, query + keyHeads * keySize * 4 + token * word(AT.qkPitch), word(AT.qkPitch), count, keySize, x);
    copyRows(on, query + token * word(AT.qkPitch), word(AT.qkPitch), count, keySize, x + WALK.query);
    for (let at = 0; at < count; at++) {
      on.parts.deltaGate(parameters, token + at, head, x + at * ROW_PITCH + WALK.left);
    }
    const scale = bitsOf(1 / Math.fround(Math.sqrt(keySize)));
    eachPanel((col, cols, panel) => {
      const place = (at: number, pitch: number): number => at + token * pitch + (head * valueSize + col) * 4;
      const [v, y] = [place(word(AT.v), word(AT.vPitch)), place(word(AT.y), word(AT.yPitch))];
      on.call(on.routines.copy.F32, v, word(AT.vPitch), count, fours(cols), values, width);
      on.call(on.routines.deltaWalk, panel, keySize / 4, count, x, values, scale);
      on.call(on.routines.copy.F32, values, width, count, fours(cols), y, word(AT.yPitch));
    });
    token += count;
    if (states === 0 || (token < tokens && (begin + token) % block !== 0)) continue;
    const to = rowOf(token - 1);
    eachPanel((col, cols, panel) => {
      for (let at = 0; at < keySize; at += panelCols) {
        const keys = Math.min(panelCols, keySize - at);
        panelOfRows(on, panel + at * width, width, keys, cols, turned);
        on.call(on.routines.copy.F32, turned, width, cols, fours(keys), to + (col * keySize + at) * 4, keySize * 4);
      }
    });
  }
}
