import { expect, test } from "bun:test";
import { itemAt } from "../../../files/item-at.ts";
import { Slot } from "./slot.ts";

test("a slot goes back to where the next token's whole window is still there", () => {
  const layer = (): never => {
    throw new Error("no matrix is asked for");
  };
  const slot = new Slot({ groups: [{ window: Infinity }, { window: 300 }], keepsStates: false, layer });
  for (const place of slot.places) place.capacity = 2000;
  itemAt(slot.places, 1).first = 256;
  slot.advance(
    Array.from({ length: 1000 }, () => 7),
    1000,
    true,
  );
  // A token at position 555 sees keys 256 to 555, its own included.
  expect([554, 555, 1000].map((length) => slot.kept(length))).toEqual([0, 555, 1000]);
});
