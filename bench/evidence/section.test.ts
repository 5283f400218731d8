import { expect, test } from "bun:test";
import { withSection } from "./section.ts";

test("a section is appended once, and replaced in its place", () => {
  const first = withSection("# Evidence\n", "images", "## Images\n\nold $& one\n");
  const both = withSection(first, "language", "## Language\n");
  const again = withSection(both, "images", "## Images\n\nnew $& one\n");
  expect(again).toBe(both.replace("old", "new"));
  expect(again.indexOf("## Images")).toBeLessThan(again.indexOf("## Language"));
  expect(withSection(again, "language", "## Language\n")).toBe(again);
});
