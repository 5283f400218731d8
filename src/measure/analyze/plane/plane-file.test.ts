import { expect, test } from "bun:test";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import { measurePlane } from "./plane-command.ts";
import { PlaneFile, type PlaneRequest } from "./plane-file.ts";

const [x, y] = [
  [0, 1, 2],
  [5, 6],
];
const REQUEST: PlaneRequest = { settings: { "--grid": 3, "--split": null }, x, y, samples: 4, tokens: 9 };
const RESUMED = { resume: true, force: false };
/** One point overflows. */
const lossAt = (px: number, py: number) => (px === 2 && py === 5 ? Infinity : 10 * px + py + 1 / 3);

/** Measures until so many losses were asked for. */
async function measured(path: string, most: number): Promise<readonly (readonly number[])[] | "interrupted"> {
  await using file = await PlaneFile.open(path, REQUEST, RESUMED);
  let asked = 0;
  const losses = measurePlane(
    (px, py) => (asked++ < most ? Promise.resolve(lossAt(px, py)) : Promise.reject(new Error("enough"))),
    REQUEST,
    file,
    () => {},
  );
  return await losses.then(
    ({ loss }) => loss,
    () => "interrupted",
  );
}

test("points that are known are not measured again, wherever it was interrupted", async () => {
  await using folder = await TemporaryFolder.create();
  const whole = await measured(folder.at("whole"), Infinity);
  expect(whole).toEqual([
    [5 + 1 / 3, 15 + 1 / 3, NaN],
    [6 + 1 / 3, 16 + 1 / 3, 26 + 1 / 3],
  ]);
  const bytes = await Bun.file(folder.at("whole")).text();
  expect(JSON.parse(bytes)).toMatchObject({
    settings: REQUEST.settings,
    loss: [[5 + 1 / 3, 15 + 1 / 3, null], [{}, {}, {}].map(() => expect.any(Number))],
  });
  // Three of them are the corners'.
  for (const points of [0, 1, 2, 3, 4, 5]) {
    const path = folder.at(`part-${points}`);
    expect(await measured(path, 1)).toBe("interrupted");
    expect(await measured(path, 3 + points)).toBe("interrupted");
    expect(await measured(path, 3 + 6 - points)).toEqual(whole);
    expect(await Bun.file(path).text()).toBe(bytes);
  }
});

test("points of another plane are refused, and stay as they are", async () => {
  await using folder = await TemporaryFolder.create();
  const path = folder.at("points");
  await measured(path, 5);
  const bytes = await Bun.file(path).text();
  for (const [request, code] of [
    [{ ...REQUEST, settings: { ...REQUEST.settings, "--grid": 4 } }, "usage"],
    [{ ...REQUEST, settings: { ...REQUEST.settings, "--split": "test" } }, "usage"],
    [{ ...REQUEST, samples: 5 }, "data"],
    [{ ...REQUEST, tokens: undefined }, "data"],
  ] as const) {
    await expect(PlaneFile.open(path, request, RESUMED)).rejects.toMatchObject({ code });
  }
  const begun = await PlaneFile.open(path, REQUEST, RESUMED);
  const other = () => begun.setCorners([NaN, 5, 6]);
  expect(other).toThrow("its corners have losses of");
  const begin = PlaneFile.open(path, REQUEST, { resume: false, force: false });
  await expect(begin).rejects.toMatchObject({ code: "file", hint: expect.stringContaining("--resume") });
  expect(await Bun.file(path).text()).toBe(bytes);
});

test.each([
  ["no JSON", () => "{"],
  ["another file", () => '{"loss":[]}'],
  ["rows of other lengths", (bytes: string) => bytes.replace('"loss": [', '"loss": [[1],')],
  ["too many rows", (bytes: string) => bytes.replace('"loss": [', '"loss": [[1,2,3],[1,2,3],[1,2,3],')],
  ["numbers that are none", (bytes: string) => bytes.replace('"A": ', '"A": "1", "B": ')],
])("a file with %s is refused", async (_, change) => {
  await using folder = await TemporaryFolder.create();
  await measured(folder.at("points"), 3);
  const content = change(await Bun.file(folder.at("points")).text());
  await Bun.write(folder.at("points"), content);
  await expect(PlaneFile.open(folder.at("points"), REQUEST, RESUMED)).rejects.toMatchObject({ code: "format" });
  expect(await Bun.file(folder.at("points")).text()).toBe(content);
});
