import fc from "fast-check";
import { describe, expect, test } from "bun:test";
import { StopMatcher } from "./detokenizer.ts";

/** Feeds the pieces; the texts shown one by one, and what stopped them. */
function feed(stops: readonly string[], pieces: readonly string[]) {
  const matcher = new StopMatcher(stops);
  const results = [...pieces.map((piece) => matcher.push(piece)), matcher.flush()];
  return { shown: results.map(({ text }) => text), stopped: results.at(-1)?.stopped };
}

/** The definition, on the whole text: the stop string that begins first, then the one listed first. */
function search(stops: readonly string[], text: string) {
  const found = stops
    .filter((stop) => stop !== "" && text.includes(stop))
    .toSorted((one, other) => text.indexOf(one) - text.indexOf(other)); // stable
  const [stopped] = found;
  return { text: stopped === undefined ? text : text.slice(0, text.indexOf(stopped)), stopped };
}

test("equals a search in the whole text, however the text is cut", () => {
  const letters = (maxLength: number) => fc.string({ unit: fc.constantFrom("a", "b", "\n"), maxLength });
  fc.assert(
    fc.property(fc.array(letters(4), { maxLength: 4 }), fc.array(letters(5), { maxLength: 8 }), (stops, pieces) => {
      const { shown, stopped } = feed(stops, pieces);
      expect({ text: shown.join(""), stopped }).toEqual(search(stops, pieces.join("")));
    }),
    { numRuns: 3000 },
  );
});

test("shows at once what cannot belong to a stop string", () => {
  const letters = (maxLength: number) => fc.string({ unit: fc.constantFrom("a", "b"), maxLength });
  fc.assert(
    fc.property(fc.array(letters(3), { maxLength: 3 }), fc.array(letters(4), { maxLength: 6 }), (stops, pieces) => {
      const matcher = new StopMatcher(stops);
      let text = "";
      let shown = "";
      for (const piece of pieces) {
        text += piece;
        const result = matcher.push(piece);
        shown += result.text;
        if (result.stopped !== undefined) return;
        const held = text.slice(shown.length);
        expect(held === "" || stops.some((stop) => stop.length > held.length && stop.startsWith(held))).toBe(true);
      }
    }),
    { numRuns: 1000 },
  );
});

describe("a stop string", () => {
  test("may span pieces, and is held back while it may still come", () => {
    expect(feed(["END"], ["a E", "N", "D b"])).toEqual({ shown: ["a ", "", "", ""], stopped: "END" });
    expect(feed(["END"], ["a E", "N", "X"])).toEqual({ shown: ["a ", "", "ENX", ""], stopped: undefined });
  });

  test("that is half a character cuts none", () => {
    expect(feed(["\udc00", "\udc03x", "\ud83d"], ["a🐀", "🐃", "x"])).toEqual({
      shown: ["a🐀", "🐃", "x", ""],
      stopped: undefined,
    });
  });

  test("that never ended is text", () => {
    expect(feed(["\n\nUser:"], ["ok", "\n\nUs"])).toEqual({ shown: ["ok", "", "\n\nUs"], stopped: undefined });
  });

  test("ends everything", () => {
    expect(feed(["b"], ["ab", "cb", "d"])).toEqual({ shown: ["a", "", "", ""], stopped: "b" });
  });

  test("that is empty never matches", () => {
    expect(feed([""], ["a"])).toEqual({ shown: ["a", ""], stopped: undefined });
  });
});
