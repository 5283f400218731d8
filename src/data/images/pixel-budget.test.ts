import { expect, test } from "bun:test";
import { PixelBudget } from "./pool.ts";

test("grants pixels in order, no more than there are, and all of them to who asks for more", async () => {
  const budget = new PixelBudget(10);
  const granted: string[] = [];
  const take = async (name: string, pixels: number) => {
    const share = await budget.take(pixels);
    granted.push(name);
    return share;
  };
  const [a, b] = await Promise.all([take("a", 6), take("b", 4)]);
  const large = take("large", 99);
  const small = take("small", 1);
  a[Symbol.dispose]();
  a[Symbol.dispose]();
  await Bun.sleep(0);
  expect(granted).toEqual(["a", "b"]);
  b[Symbol.dispose]();
  (await large)[Symbol.dispose]();
  expect(granted.slice(0, 3)).toEqual(["a", "b", "large"]);
  (await small)[Symbol.dispose]();
  expect(granted.at(-1)).toBe("small");
});
