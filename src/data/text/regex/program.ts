import { Dispatch, firstSets, MAX_BRANCHES, SetTest } from "./set.ts";
import { minLength, type Node, RegexLimitError, type Repeat } from "./syntax.ts";

/** The instructions of a program; their operands follow them. */
export const Op = {
  /** One UTF-16 unit: unit. */
  Unit: 0,
  /** One character of a set: set. */
  Set: 1,
  /** As many characters of a set as can be, or as few: run. */
  Run: 2,
  /** Tries what follows, then another place: place, number of the split. */
  Split: 3,
  /** Tries another place, then what follows: place, number of the split. */
  SplitLazy: 4,
  Jump: 5,
  /** Writes the position: slot. */
  Save: 6,
  /** Forgets groups: first slot, slot behind the last. */
  Forget: 7,
  /** Fails unless the position has changed: slot. */
  Moved: 8,
  /** Start or end of the text, or of a line: 0 to 3. */
  Start: 9,
  End: 10,
  /** What follows up to an Accept must match here: place behind it, kind (see {@link Look}). */
  Look: 11,
  /** What a group captured: group, whether case is ignored. */
  Back: 12,
  Accept: 13,
  /** The same backwards. */
  UnitBack: 14,
  SetBack: 15,
  BackBack: 16,
  /** Tries the branches that the next character allows, in order: choice, number of the split. */
  Choice: 17,
} as const;

/** Kinds of looks. An atomic one takes what it found. */
export const Look = { Positive: 0, Negative: 1, Atomic: 2 } as const;

/** Repeats one set. */
export interface Run {
  readonly set: SetTest;
  readonly min: number;
  readonly max: number;
  readonly lazy: boolean;
}

/** Several branches. */
export interface Choice {
  readonly dispatch: Dispatch;
  /** Where each begins. */
  readonly places: readonly number[];
}

/** A compiled pattern. */
export interface Program {
  readonly code: Int32Array;
  readonly sets: readonly SetTest[];
  readonly runs: readonly Run[];
  readonly choices: readonly Choice[];
  /** Whether a match can begin with a character: one branch. */
  readonly begins: Dispatch;
  readonly splits: number;
  /** Groups that capture. */
  readonly groups: number;
  /** Start and end of each group, then what loops remember. */
  readonly slots: number;
  /** Whether what is found depends on more than place and position: what failed once may match another time. */
  readonly refers: boolean;
}

/** Counted groups are written out. */
const MAX_LENGTH = 50_000;
/** Each may have a table of 64 KiB. */
const MAX_SETS = 256;
/** Each may have a table of 256 KiB; further ones do without. */
const MAX_CHOICES = 32;

/** @throws RegexLimitError for a pattern that is too large */
export function compile(root: Node, groups: number): Program {
  return new Compiler(groups).compile(root);
}

class Compiler {
  readonly #code: number[] = [];
  readonly #sets = new Map<string, number>();
  readonly #tests: SetTest[] = [];
  readonly #runs: Run[] = [];
  readonly #choices: Choice[] = [];
  #splits = 0;
  readonly #groups: number;
  #slots: number;
  #refers = false;

  constructor(groups: number) {
    this.#groups = groups;
    this.#slots = 2 * (groups + 1);
  }

  compile(root: Node): Program {
    this.#emit(root, false);
    this.#add(Op.Accept);
    const begins = new Dispatch([this.#firsts(root)]);
    return {
      code: Int32Array.from(this.#code),
      sets: this.#tests,
      runs: this.#runs,
      choices: this.#choices,
      begins,
      splits: this.#splits,
      groups: this.#groups,
      slots: this.#slots,
      refers: this.#refers,
    };
  }

  #emit(node: Node, back: boolean): void {
    switch (node.kind) {
      case "set":
        // A surrogate alone is not half of a pair, so that it takes the set's test.
        if (node.literal !== undefined && (node.literal & 0xf800) !== 0xd800) this.#literal(node.literal, back);
        else this.#add(back ? Op.SetBack : Op.Set, this.#set(node));
        return;
      case "sequence":
        this.#sequence(node.items, back);
        return;
      case "choice":
        if (back || node.branches.length > MAX_BRANCHES || this.#choices.length >= MAX_CHOICES) {
          this.#splitChoice(node.branches, back);
        } else {
          this.#choice(node.branches);
        }
        return;
      case "capture":
        this.#add(Op.Save, 2 * node.index + (back ? 1 : 0));
        this.#emit(node.body, back);
        this.#add(Op.Save, 2 * node.index + (back ? 0 : 1));
        return;
      case "look":
        this.#look(node.body, node.behind, node.negated ? Look.Negative : Look.Positive);
        return;
      case "back":
        this.#refers = true;
        this.#add(back ? Op.BackBack : Op.Back, node.index, node.ignoreCase ? 1 : 0);
        return;
      case "assertion":
        this.#add(node.symbol === "^" ? Op.Start : Op.End, node.multiline ? 1 : 0);
        return;
      case "repeat":
        if (node.body.kind === "set" && !back) this.#run(node, this.#set(node.body));
        else this.#repeat(node, back);
    }
  }

  #literal(codePoint: number, back: boolean): void {
    const text = String.fromCodePoint(codePoint);
    for (let i = 0; i < text.length; i++) {
      this.#add(back ? Op.UnitBack : Op.Unit, text.charCodeAt(back ? text.length - 1 - i : i));
    }
  }

  #sequence(items: readonly Node[], back: boolean): void {
    if (back) {
      for (const item of items.toReversed()) this.#emit(item, true);
      return;
    }
    for (let i = 0; i < items.length; i++) {
      const item = items[i];
      const next = items[i + 1];
      if (item === undefined) continue;
      // `(?=(…))\1` is how JavaScript writes an atomic group.
      const atomic = item.kind === "look" && !item.behind && !item.negated && item.body.kind === "capture";
      if (atomic && next?.kind === "back" && next.index === captured(item.body)) {
        this.#look(item.body, false, Look.Atomic);
        i++;
      } else {
        this.#emit(item, false);
      }
    }
  }

  #choice(branches: readonly Node[]): void {
    const places: number[] = [];
    const dispatch = new Dispatch(branches.map((branch) => this.#firsts(branch)));
    this.#add(Op.Choice, this.#choices.push({ dispatch, places }) - 1, this.#splits++);
    const ends: number[] = [];
    for (const branch of branches) {
      places.push(this.#code.length);
      this.#emit(branch, false);
      ends.push(this.#add(Op.Jump, 0));
    }
    for (const end of ends) this.#aim(end);
  }

  #firsts(node: Node): readonly SetTest[] | undefined {
    return firstSets(node)?.map((set) => this.#tests[this.#set(set)] ?? new SetTest(set));
  }

  /** Without a table. */
  #splitChoice(branches: readonly Node[], back: boolean): void {
    const ends: number[] = [];
    for (const [i, branch] of branches.entries()) {
      if (i === branches.length - 1) {
        this.#emit(branch, back);
        break;
      }
      const split = this.#add(Op.Split, 0, this.#splits++);
      this.#emit(branch, back);
      ends.push(this.#add(Op.Jump, 0));
      this.#aim(split);
    }
    for (const end of ends) this.#aim(end);
  }

  #look(body: Node, behind: boolean, kind: number): void {
    const look = this.#add(Op.Look, 0, kind);
    this.#emit(body, behind);
    this.#add(Op.Accept);
    this.#aim(look);
  }

  #run({ min, max, lazy }: Repeat, set: number): void {
    const test = this.#tests[set];
    if (test !== undefined) this.#runs.push({ set: test, min, max, lazy });
    this.#add(Op.Run, this.#runs.length - 1);
  }

  #repeat({ body, min, max, lazy }: Repeat, back: boolean): void {
    const captures = groupsIn(body);
    const once = () => {
      if (captures !== undefined) this.#add(Op.Forget, 2 * captures.first, 2 * captures.last + 2);
      this.#emit(body, back);
    };
    for (let i = 0; i < min; i++) {
      const before = this.#code.length;
      once();
      if (this.#code.length === before) break; // nothing, however often
    }
    // What goes round without moving would go round for ever; JavaScript does not count such a turn.
    const moved = minLength(body) === 0 ? this.#slots++ : undefined;
    const optional = () => {
      const split = this.#add(lazy ? Op.SplitLazy : Op.Split, 0, this.#splits++);
      if (moved !== undefined) this.#add(Op.Save, moved);
      once();
      if (moved !== undefined) this.#add(Op.Moved, moved);
      return split;
    };
    if (max === Infinity) {
      const split = optional();
      this.#add(Op.Jump, split);
      this.#aim(split);
      return;
    }
    const splits: number[] = [];
    for (let i = min; i < max; i++) splits.push(optional());
    for (const split of splits) this.#aim(split);
  }

  #set({ source, flags }: Node & { kind: "set" }): number {
    const key = `${flags} ${source}`;
    const found = this.#sets.get(key);
    if (found !== undefined) return found;
    if (this.#tests.length >= MAX_SETS) throw new RegexLimitError(`it has more than ${MAX_SETS} sets of characters`);
    this.#tests.push(new SetTest({ source, flags }));
    this.#sets.set(key, this.#tests.length - 1);
    return this.#tests.length - 1;
  }

  /** @returns the instruction's place */
  #add(...words: number[]): number {
    const place = this.#code.length;
    if (place > MAX_LENGTH) throw new RegexLimitError("it is too large");
    this.#code.push(...words);
    return place;
  }

  /** Sets the place that an instruction names to the one that follows now. */
  #aim(instruction: number): void {
    this.#code[instruction + 1] = this.#code.length;
  }
}

function captured(node: Node): number {
  return node.kind === "capture" ? node.index : -1;
}

/** The first and last group that captures inside of a node. */
function groupsIn(node: Node): { first: number; last: number } | undefined {
  const inside = childrenOf(node).flatMap((child) => groupsIn(child) ?? []);
  if (node.kind === "capture") inside.push({ first: node.index, last: node.index });
  if (inside.length === 0) return undefined;
  return { first: Math.min(...inside.map(({ first }) => first)), last: Math.max(...inside.map(({ last }) => last)) };
}

function childrenOf(node: Node): readonly Node[] {
  if (node.kind === "sequence") return node.items;
  if (node.kind === "choice") return node.branches;
  return "body" in node ? [node.body] : [];
}
