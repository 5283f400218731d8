// What pieces of attention's gradients work with: a command's parameters, panels of own rows, and the slopes of their scores.
import { STATS } from "../../families/attention-gradient.ts";
import type { Caller, ParameterWords } from "../caller.ts";
import { wordsOf } from "../../parameters.ts";
import { ROW_PITCH } from "../routines/layout.ts";
import { multiplyRows, panelOfRows, roomsOf, termsBytes } from "./attention-panels.ts";
import { blocksBytes, multiplyTiles, storeSums, type Target } from "./tiles.ts";

const AT = wordsOf(STATS);

/** A command's parameters, and where things are in scratch. */
export class Gradient {
  readonly on: Caller;
  readonly word: ParameterWords;
  readonly head: number;
  readonly chunk: number;
  readonly pieceRows: number;
  /** Of the own rows of a panel: where they are queries, what each token needs; where they are keys, their numbers. */
  readonly lanes: number;
  readonly scores: number;
  readonly products: number;
  readonly results: number;
  /** Panels of the own rows, of both operands. */
  readonly own: number;
  readonly ownOthers: number;
  /** Rows of the others, as tiles multiply them, and as terms. */
  readonly rows: number;
  readonly otherRows: number;
  readonly terms: number;
  readonly otherTerms: number;
  readonly #room: number;

  constructor(on: Caller, parameters: number) {
    this.on = on;
    const word = on.reader(parameters, AT.count);
    this.word = word;
    this.head = word(AT.head);
    this.chunk = word(AT.chunk);
    this.pieceRows = word(AT.pieceRows);
    const { panelCols } = on.code;
    const room = roomsOf(on);
    this.lanes = room(4 * panelCols * 4);
    this.scores = room(this.chunk * panelCols * 4);
    this.products = room(this.chunk * panelCols * 4);
    this.results = room(panelCols * panelCols * 4);
    const panels = Math.ceil(this.pieceRows / panelCols) * panelCols * this.head * 4;
    this.own = room(panels);
    this.ownOthers = room(panels);
    this.rows = room(blocksBytes(this.chunk, this.head));
    this.otherRows = room(blocksBytes(this.chunk, this.head));
    this.terms = room(termsBytes(on, this.head, this.chunk));
    this.otherTerms = room(termsBytes(on, this.head, this.chunk));
    this.#room = room(this.chunk * panelCols * 4);
  }

  /** Rows of what the stats have of tokens, in words: first and last keys, and of each head log Σ exp(scores) and dy · y. */
  stats(row: number): number {
    return (this.word(AT.stats) + row * this.word(AT.statsPitch)) / 4;
  }

  /** Panels of own rows: of q and dy, or of keys and values. */
  takeOwn(operands: readonly [from: number, pitch: number][], rows: number): void {
    const { on, head } = this;
    const { panelCols } = on.code;
    for (let panel = 0; panel < rows; panel += panelCols) {
      operands.forEach(([from, pitch], at) => {
        const to = (at === 0 ? this.own : this.ownOthers) + panel * head * 4;
        panelOfRows(on, from + panel * pitch, pitch, Math.min(panelCols, rows - panel), head, to);
      });
    }
  }

  /** q · key and dy · value of a panel of own rows with `count` of the `rows` others from number `low` of the chunk on. */
  multiply(panel: number, rows: number, low: number, count: number): void {
    const { on, head } = this;
    const [place, first] = [panel * head * 4, low * ROW_PITCH];
    multiplyRows(on, this.rows + first, rows, count, this.own + place, head, this.scores, this.#room);
    multiplyRows(on, this.otherRows + first, rows, count, this.ownOthers + place, head, this.products, this.#room);
  }

  /** The products become slopes and weights. */
  weigh(lanes: "queries" | "keys", count: number, of: Tokens, key: number): void {
    const { on, word } = this;
    const routine = on.routines.slopes[lanes][word(AT.cap) === 0 ? 0 : 1] ?? 0;
    const { firsts, lasts, logSums, rests } = of;
    const { scores, products } = this;
    const [scale, cap] = [word(AT.scale), word(AT.cap)];
    on.call(routine, scores, products, count, firsts, lasts, logSums, rests, this.lanes, key, scale, cap);
  }

  /** Adds what slopes or weights of `own` rows make of the others' terms. */
  add(slopes: number, own: number, terms: number, low: number, count: number, target: Target): void {
    const { on, head, chunk } = this;
    const { panelCols } = on.code;
    for (let col = 0; col < head; col += panelCols) {
      const from = terms + (col * chunk + low * panelCols) * 4;
      multiplyTiles(on, "rows", slopes, own, from, count, this.results, panelCols * 4);
      const cols = Math.min(panelCols, head - col);
      storeSums(on, this.results, panelCols * 4, own, cols, target, 0, col, true);
    }
  }
}

/** Where numbers of tokens begin. */
interface Tokens {
  readonly firsts: number;
  readonly lasts: number;
  readonly logSums: number;
  readonly rests: number;
}
