import { minLength, type Node, RegexLimitError } from "../../data/text/regex/syntax.ts";
import { type Expression, graph, type GraphNode } from "./grammar.ts";

/** Characters that may follow each other, with each length up to them. */
const MOST_STEPS = 40_000;

/** What a text must still match: a part of a pattern, and what follows on it. */
interface Rest {
  readonly id: number;
  readonly node: Node;
  readonly next: Rest | undefined;
}

/** A character, and what must follow on it. */
type Step = readonly [character: Node, next: Rest | undefined];
/** The same of several patterns at once: a character of all sets. */
type CommonStep = readonly [characters: readonly Node[], next: readonly (Rest | undefined)[]];

/** Walks through patterns that all match, character by character (Antimirov's partial derivatives), so that they can be counted. */
export class PatternWalk {
  /** Work that was done. */
  steps = 0;
  readonly #start: readonly Rest[];
  /** Equal ones are the same. */
  readonly #rests = new Map<string, Rest>();
  readonly #firsts = new Map<number, readonly Step[]>();
  readonly #ids = new Map<Node, number>();

  /** @param roots each of sets of characters, put together */
  constructor(roots: readonly Node[]) {
    this.#start = roots.map((root) => this.#rest(root, undefined));
  }

  /**
   * Matches of so many characters.
   * @param expressionOf makes an expression of a character that is in all of these sets; undefined: there is none
   * @returns undefined: there is none
   * @throws RegexLimitError for too many steps
   */
  within(
    least: number,
    most: number,
    expressionOf: (characters: readonly Node[]) => Expression | undefined,
  ): Expression | undefined {
    // Where there is no upper bound, those beyond the lower one need not be counted.
    const counted = most === Infinity ? least : most;
    const waiting: { readonly rests: readonly (Rest | undefined)[]; readonly length: number }[] = [];
    const numbers = new Map<string, number>();
    const numberOf = (rests: readonly (Rest | undefined)[], length: number): number => {
      const key = `${rests.map((rest) => rest?.id).join(" ")} ${length}`;
      const number = numbers.get(key) ?? waiting.push({ rests, length }) - 1;
      numbers.set(key, number);
      return number;
    };
    numberOf(this.#start, 0);
    const nodes: GraphNode[] = [];
    for (const { rests, length } of waiting) {
      const ways = (length === most ? [] : this.#common(rests)).flatMap(([characters, next]) => {
        const part = expressionOf(characters);
        return part === undefined ? [] : [{ part, to: numberOf(next, Math.min(length + 1, counted)) }];
      });
      nodes.push({ ways, isEnd: length >= least && rests.every(mayEnd) });
    }
    return nodes.some(({ isEnd }) => isEnd) ? graph(nodes) : undefined;
  }

  #common(rests: readonly (Rest | undefined)[]): readonly CommonStep[] {
    return rests.reduce<readonly CommonStep[]>(
      (all, rest) => {
        const first = this.#first(rest);
        this.#count(all.length * first.length);
        return all.flatMap(([characters, next]) =>
          first.map(
            ([character, behind]) =>
              [
                [...characters, character],
                [...next, behind],
              ] as const,
          ),
        );
      },
      [[[], []]],
    );
  }

  #first(rest: Rest | undefined): readonly Step[] {
    if (rest === undefined) return [];
    const known = this.#firsts.get(rest.id);
    const behind = known === undefined && minLength(rest.node) === 0 ? this.#first(rest.next) : [];
    const first = known ?? [...this.#enter(rest.node, rest.next), ...behind];
    this.#firsts.set(rest.id, first);
    return first;
  }

  /** The characters with which a part begins that is not empty. */
  #enter(node: Node, next: Rest | undefined): Step[] {
    this.#count(1);
    switch (node.kind) {
      case "sequence": {
        const steps: Step[][] = [];
        let behind = next;
        for (const item of node.items.toReversed()) {
          // Where an item may not be empty nothing begins behind it.
          if (minLength(item) > 0) steps.length = 0;
          steps.push(this.#enter(item, behind));
          behind = this.#rest(item, behind);
        }
        return steps.flat();
      }
      case "choice":
        return node.branches.flatMap((branch) => this.#enter(branch, next));
      case "capture":
        return this.#enter(node.body, next);
      case "repeat": {
        const { min, max } = node;
        const again = { ...node, min: Math.max(0, min - 1), max: max - 1 };
        return max === 0 ? [] : this.#enter(node.body, max === 1 ? next : this.#rest(again, next));
      }
      default:
        return [[node, next]];
    }
  }

  #rest(node: Node, next: Rest | undefined): Rest {
    const times = node.kind === "repeat" ? `${node.min} ${node.max}` : "";
    const key = `${this.#idOf(node.kind === "repeat" ? node.body : node)} ${times} ${next?.id}`;
    const rest = this.#rests.get(key) ?? { id: this.#rests.size, node, next };
    this.#rests.set(key, rest);
    return rest;
  }

  #count(steps: number): void {
    this.steps += steps;
    if (this.steps > MOST_STEPS) throw new RegexLimitError(`it has more than ${MOST_STEPS} steps beside a length`);
  }

  #idOf(node: Node): number {
    const id = this.#ids.get(node) ?? this.#ids.size;
    this.#ids.set(node, id);
    return id;
  }
}

function mayEnd(rest: Rest | undefined): boolean {
  return rest === undefined || (minLength(rest.node) === 0 && mayEnd(rest.next));
}
