import { type Node, type Pattern, PatternError } from "./syntax.ts";

/** The JavaScript pattern (flag v), and which of its groups is which of Python's. */
export interface Emitted {
  readonly source: string;
  readonly groups: ReadonlyMap<number, number>;
}

/** Writes a parsed pattern in JavaScript's syntax. Throws {@link PatternError} for what means something else there. */
export function emitPattern(pattern: Pattern): Emitted {
  const emitter = new Emitter();
  const source = emitter.emit(pattern.root, { behind: false, scope: [] });
  return { source, groups: emitter.groups };
}

interface Place {
  /** Inside a look-behind, which JavaScript matches backwards. */
  readonly behind: boolean;
  /** The branches and optional parts around this place, outermost first, each with its own number. */
  readonly scope: readonly number[];
}

class Emitter {
  /** Python's group → JavaScript's. */
  readonly groups = new Map<number, number>();
  readonly #scopes = new Map<number, readonly number[]>();
  #captures = 0;
  #scopeCount = 0;

  emit(node: Node, place: Place): string {
    switch (node.kind) {
      case "set": {
        const { ascii, ignoreCase } = node.flags;
        // JavaScript folds beyond ASCII (ſ is an s, the Kelvin sign a k) and cannot be told not to.
        if (ascii && ignoreCase) throw new PatternError("the flags a and i together are not supported", 0);
        const source = `[${node.negated ? "^" : ""}${node.source}]`;
        return ignoreCase ? `(?i:${source})` : source;
      }
      case "assertion":
        return node.source;
      case "sequence":
        return node.items.map((item) => this.emit(item, place)).join("");
      case "choice":
        return `(?:${node.branches.map((branch) => this.emit(branch, this.#within(place))).join("|")})`;
      case "capture": {
        const number = ++this.#captures;
        this.groups.set(node.index, number);
        this.#scopes.set(node.index, place.scope);
        return `(${this.emit(node.body, place)})`;
      }
      case "atomic":
        return this.#atomic(place, (inside) => this.emit(node.body, inside));
      case "look": {
        const inside = { ...(node.negated ? this.#within(place) : place), behind: node.behind };
        return `(?${node.behind ? "<" : ""}${node.negated ? "!" : "="}${this.emit(node.body, inside)})`;
      }
      case "back": {
        const defined = this.#scopes.get(node.index) ?? [];
        // Python fails at a reference to a group that took no part; JavaScript takes it for empty.
        if (defined.some((scope, i) => place.scope[i] !== scope)) {
          throw new PatternError(`a reference to group ${node.index}, which may take no part, is not supported`, 0);
        }
        const source = `\\${this.groups.get(node.index)}`;
        return node.flags.ignoreCase ? `(?i:${source})` : `(?:${source})`;
      }
      case "repeat":
        if (node.mode !== "possessive") return this.#repeat(node, place, node.mode === "lazy" ? "?" : "");
        return this.#atomic(place, (inside) => this.#repeat(node, inside, ""));
    }
  }

  #repeat({ body, min, max }: Node & { kind: "repeat" }, place: Place, suffix: string): string {
    const source = this.emit(body, min === 0 ? this.#within(place) : place);
    const bounds = max === min ? `{${min}}` : `{${min},${max === Infinity ? "" : max}}`;
    return `(?:${source})${bounds}${suffix}`;
  }

  /** A look-ahead never gives back what it found: capture it there, then take it. */
  #atomic(place: Place, emit: (place: Place) => string): string {
    if (place.behind) throw new PatternError("an atomic group inside a look-behind is not supported", 0);
    const number = ++this.#captures;
    return `(?:(?=(${emit(place)}))\\${number})`;
  }

  #within(place: Place): Place {
    return { ...place, scope: [...place.scope, ++this.#scopeCount] };
  }
}
