// Larger than 12 KB: one machine, whose steps share its stack and what it remembers of failures.
import { Letters, RunState } from "./run-state.ts";
import { Look, Op, type Program } from "./program.ts";
import { unitsAt, unitsBefore } from "./set.ts";
import { RegexLimitError } from "./syntax.ts";

/** Steps that any text may take, and further ones for each of its UTF-16 units. */
const FREE_STEPS = 10_000_000;
const STEPS_A_UNIT = 500;
/** What it takes to compile a native expression, in steps. */
const STEPS_A_COMPILE = 500;
/** A match that takes more steps than this is worth remembering what failed. */
const PLAIN_STEPS = 10_000;
/** Of the table of what failed; beyond it only the steps are counted. */
const MAX_FAILED_BITS = 2 ** 30;
/** Of what is still to be tried; entries of four numbers. */
const MAX_STACK = 2 ** 25;

/** What an entry of the stack means: another branch, a slot's value, other lengths of a run, a split that failed. */
const Entry = { Branch: 0, Restore: 1, Run: 2, Failed: 3 } as const;

/**
 * Matches one program against one text by backtracking. What has failed at a place of the text fails there always (unless
 * the pattern refers back), so it is not tried again: with a table of splits and places, and for runs of one set with the
 * stretch of ends that failed. Work is then linear in the text, except inside of looks; steps are counted as well.
 */
export class Matcher {
  readonly text: string;
  start = 0;
  end = 0;
  readonly #program: Program;
  readonly #slots: Int32Array;
  readonly #mostSteps: number;
  readonly #plainSteps: number;
  #steps = 0;
  #stack = new Int32Array(256);
  #top = 0;
  /** One bit for each split at each place; undefined until it is worth it. */
  #failed: Uint32Array | undefined;
  readonly #runs: readonly RunState[];
  readonly #letters = new Letters();

  /** @param plainSteps after which what fails is remembered; there is little gained by it in short matches */
  constructor(program: Program, text: string, plainSteps = PLAIN_STEPS) {
    this.#plainSteps = plainSteps;
    this.#program = program;
    this.text = text;
    this.#slots = new Int32Array(program.slots).fill(-1);
    this.#mostSteps = FREE_STEPS + STEPS_A_UNIT * text.length;
    this.#runs = program.runs.map((run) => new RunState(run, text));
  }

  /**
   * Looks for the first match that begins at `from` or later; `start` and `end` tell where it is.
   * @throws RegexLimitError when it takes too many steps
   */
  find(from: number): boolean {
    const { text } = this;
    const { begins } = this.#program;
    for (let start = from; start <= text.length; start += unitsAt(text, start)) {
      if (begins.mask(text, start) === 0) continue;
      const end = this.matchAt(start);
      if (end < 0) continue;
      this.start = start;
      this.end = end;
      return true;
    }
    return false;
  }

  /**
   * @returns the end of a match that begins at `start`, or -1
   * @throws RegexLimitError when it takes too many steps
   */
  matchAt(start: number): number {
    this.#top = 0;
    this.#slots.fill(-1);
    return this.#run(0, start, this.#steps + this.#plainSteps);
  }

  /** What a group captured in the last match: its start and end, -1 where it took no part. */
  group(index: number): readonly [start: number, end: number] {
    return [this.#slots[2 * index] ?? -1, this.#slots[2 * index + 1] ?? -1];
  }

  /** Runs the program from `pc` at `at` up to its Accept. What was tried to get there stays on the stack. */
  #run(pc: number, at: number, plain: number): number {
    const { text } = this;
    const { code, sets, choices } = this.#program;
    const base = this.#top;
    for (;;) {
      if (++this.#steps > plain) this.#remember();
      let ok = true;
      switch (code[pc]) {
        case Op.Unit:
          ok = text.charCodeAt(at) === code[pc + 1];
          at++;
          pc += 2;
          break;
        case Op.Set: {
          const units = sets[code[pc + 1] ?? 0]?.at(text, at) ?? 0;
          ok = units > 0;
          at += units;
          pc += 2;
          break;
        }
        case Op.Run: {
          const end = this.#runOver(this.#runs[code[pc + 1] ?? 0], at, pc);
          ok = end >= 0;
          at = end;
          pc += 2;
          break;
        }
        case Op.Split:
          ok = !this.#hasFailed(pc, at);
          if (ok) this.#push(Entry.Branch, pc, at, 0, 0);
          pc += 3;
          break;
        case Op.SplitLazy:
          ok = !this.#hasFailed(pc, at);
          if (ok) this.#push(Entry.Branch, pc, at, 0, 0);
          pc = code[pc + 1] ?? 0;
          break;
        case Op.Choice: {
          ok = !this.#hasFailed(pc, at);
          if (ok) {
            const place = this.#branch(pc, at, choices[code[pc + 1] ?? 0]?.dispatch.mask(text, at) ?? 0);
            ok = place >= 0;
            pc = place;
          }
          break;
        }
        case Op.Jump:
          pc = code[pc + 1] ?? 0;
          break;
        case Op.Save:
          this.#save(code[pc + 1] ?? 0, at);
          pc += 2;
          break;
        case Op.Forget:
          for (let slot = code[pc + 1] ?? 0; slot < (code[pc + 2] ?? 0); slot++) this.#save(slot, -1);
          pc += 3;
          break;
        case Op.Moved:
          ok = this.#slots[code[pc + 1] ?? 0] !== at;
          pc += 2;
          break;
        case Op.Start:
          ok = at === 0 || (code[pc + 1] === 1 && isLineEnd(text.charCodeAt(at - 1)));
          pc += 2;
          break;
        case Op.End:
          ok = at === text.length || (code[pc + 1] === 1 && isLineEnd(text.charCodeAt(at)));
          pc += 2;
          break;
        case Op.Look: {
          const end = this.#look(pc + 3, at, code[pc + 2] ?? 0, plain);
          ok = end >= 0;
          at = end;
          pc = code[pc + 1] ?? 0;
          break;
        }
        case Op.Back:
        case Op.BackBack: {
          const end = this.#back(code[pc + 1] ?? 0, at, code[pc + 2] === 1, code[pc] === Op.BackBack);
          ok = end >= 0;
          at = end;
          pc += 3;
          break;
        }
        case Op.UnitBack:
          at--;
          ok = at >= 0 && text.charCodeAt(at) === code[pc + 1];
          pc += 2;
          break;
        case Op.SetBack: {
          const units = at > 0 ? unitsBefore(text, at) : 0;
          at -= units;
          ok = units > 0 && (sets[code[pc + 1] ?? 0]?.at(text, at) ?? 0) === units;
          pc += 2;
          break;
        }
        case Op.Accept:
          return at;
      }
      if (ok) continue;
      // Back to what was not tried yet.
      for (;;) {
        if (this.#top === base) return -1;
        this.#top -= 4;
        const stack = this.#stack;
        const head = stack[this.#top] ?? 0;
        const value = stack[this.#top + 1] ?? 0;
        const kind = head & 3;
        if (kind === Entry.Restore) {
          this.#slots[head >> 2] = value;
        } else if (kind === Entry.Failed) {
          this.#markFailed(head >> 2, value);
        } else if (kind === Entry.Branch) {
          const split = head >> 2;
          if (code[split] === Op.Choice) {
            const place = this.#branch(split, value, stack[this.#top + 2] ?? 0);
            if (place < 0) continue;
            at = value;
            pc = place;
            break;
          }
          if (this.#failed !== undefined) this.#push(Entry.Failed, split, value, 0, 0);
          at = value;
          pc = code[split] === Op.Split ? (code[split + 1] ?? 0) : split + 3;
          break;
        } else {
          const run = this.#runs[code[(head >> 2) + 1] ?? 0];
          const end = this.#otherEnd(run, head >> 2, value, stack[this.#top + 2] ?? 0, stack[this.#top + 3] ?? 0);
          if (end < 0) continue;
          at = end;
          pc = (head >> 2) + 2;
          break;
        }
      }
    }
  }

  /** @returns where the match goes on: here, or behind what an atomic look found; -1 */
  #look(body: number, at: number, kind: number, plain: number): number {
    const base = this.#top;
    const end = this.#run(body, at, plain);
    if (end < 0) return kind === Look.Negative ? at : -1;
    // What the look did not try, it never will; but groups have to be forgotten when what follows fails.
    let kept = base;
    for (let entry = base; entry < this.#top; entry += 4) {
      if (((this.#stack[entry] ?? 0) & 3) !== Entry.Restore) continue;
      this.#stack.copyWithin(kept, entry, entry + 4);
      kept += 4;
    }
    this.#top = kept;
    if (kind === Look.Atomic) return end;
    if (kind === Look.Positive) return at;
    while (this.#top > base) {
      this.#top -= 4;
      this.#slots[(this.#stack[this.#top] ?? 0) >> 2] = this.#stack[this.#top + 1] ?? -1;
    }
    return -1;
  }

  /** @returns the place of the first branch left in `mask`, or -1; others wait on the stack */
  #branch(choice: number, at: number, mask: number): number {
    if (mask === 0) {
      if (this.#failed !== undefined) this.#markFailed(choice, at);
      return -1;
    }
    const rest = mask & (mask - 1);
    if (rest !== 0 || this.#failed !== undefined) this.#push(Entry.Branch, choice, at, rest, 0);
    return this.#program.choices[this.#program.code[choice + 1] ?? 0]?.places[31 - Math.clz32(mask ^ rest)] ?? -1;
  }

  /** Runs over a set's characters. @returns the first end to be tried, or -1; others wait on the stack */
  #runOver(run: RunState | undefined, at: number, pc: number): number {
    const last = run?.reach(at) ?? -1;
    if (run === undefined || last < 0) return -1;
    this.#steps += run.walked >> 3;
    const first = run.least;
    const end = run.lazy ? run.skipUp(first) : run.skipDown(last);
    if (run.lazy ? end > last : end < first) return -1;
    if (first !== last) this.#push(Entry.Run, pc, end, first, last);
    return end;
  }

  /** The next end of a run to be tried after `end` failed; -1 when all have. */
  #otherEnd(run: RunState | undefined, pc: number, end: number, first: number, last: number): number {
    if (run === undefined) return -1;
    const next = run.lazy
      ? run.skipUp(end + unitsAt(this.text, end))
      : run.skipDown(end === 0 ? -1 : end - unitsBefore(this.text, end));
    if (run.lazy ? next <= last : next >= first) {
      this.#push(Entry.Run, pc, next, first, last);
      return next;
    }
    if (!this.#program.refers) run.noteFailed(first, last);
    return -1;
  }

  #back(group: number, at: number, ignoreCase: boolean, back: boolean): number {
    const [start, end] = this.group(group);
    if (start < 0 || end < 0) return at;
    const length = end - start;
    const from = back ? at - length : at;
    if (from < 0 || from + length > this.text.length) return -1;
    this.#steps += length;
    const wanted = this.text.slice(start, end);
    const found = this.text.slice(from, from + length);
    if (wanted !== found && !(ignoreCase && this.#sameLetters(wanted, found))) return -1;
    const next = back ? from : at + length;
    return insidePair(this.text, next) ? -1 : next;
  }

  #sameLetters(a: string, b: string): boolean {
    const before = this.#letters.asked;
    const same = this.#letters.same(a, b);
    this.#steps += STEPS_A_COMPILE * (this.#letters.asked - before);
    return same;
  }

  #save(slot: number, value: number): void {
    this.#push(Entry.Restore, slot, this.#slots[slot] ?? -1, 0, 0);
    this.#slots[slot] = value;
  }

  #push(kind: number, place: number, a: number, b: number, c: number): void {
    if (this.#top + 4 > this.#stack.length) this.#grow();
    const stack = this.#stack;
    stack[this.#top] = (place << 2) | kind;
    stack[this.#top + 1] = a;
    stack[this.#top + 2] = b;
    stack[this.#top + 3] = c;
    this.#top += 4;
  }

  #grow(): void {
    if (this.#stack.length >= MAX_STACK) throw new RegexLimitError("it takes too much memory on a text");
    const larger = new Int32Array(2 * this.#stack.length);
    larger.set(this.#stack);
    this.#stack = larger;
  }

  #bit(split: number, at: number): number {
    return (this.#program.code[split + 2] ?? 0) * (this.text.length + 1) + at;
  }

  #hasFailed(split: number, at: number): boolean {
    if (this.#failed === undefined) return false;
    const bit = this.#bit(split, at);
    return (((this.#failed[bit >>> 5] ?? 0) >>> (bit & 31)) & 1) === 1;
  }

  #markFailed(split: number, at: number): void {
    if (this.#failed === undefined) return;
    const bit = this.#bit(split, at);
    this.#failed[bit >>> 5] = (this.#failed[bit >>> 5] ?? 0) | (1 << (bit & 31));
  }

  /** Begins to remember what fails; refuses to go on when all steps are used up. */
  #remember(): void {
    if (this.#steps > this.#mostSteps) throw new RegexLimitError("it takes too many steps on a text");
    if (this.#failed !== undefined || this.#program.refers || this.#program.splits === 0) return;
    const bits = this.#program.splits * (this.text.length + 1);
    if (bits <= MAX_FAILED_BITS) this.#failed = new Uint32Array((bits >>> 5) + 1);
  }
}

/** Half of a character is none. */
function insidePair(text: string, at: number): boolean {
  return at > 0 && (text.charCodeAt(at) & 0xfc00) === 0xdc00 && unitsBefore(text, at + 1) === 2;
}

function isLineEnd(unit: number): boolean {
  return unit === 0x0a || unit === 0x0d || unit === 0x2028 || unit === 0x2029;
}
