import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { STAGING_NAMES, Stagings } from "../../../device/testing/stagings.ts";
import { isRight } from "../compare.ts";
import { compareFamily, FAMILY_CASES } from "./index.ts";

const stagings = new Stagings();
beforeAll(() => stagings.open());
afterAll(() => stagings.close());

describe.each(STAGING_NAMES)("%s", (staging) => {
  test.each(FAMILY_CASES.map((one) => [`${one.family}, ${one.format}, ${one.name}`, one] as const))(
    "%s",
    async (_, one) => {
      const [device, way] = stagings.get(staging);
      const live = device.memory.liveBytes;
      const found = await compareFamily(one, device, way);
      expect(found.length).toBeGreaterThan(0);
      expect(found.filter((comparison) => !isRight(comparison))).toEqual([]);
      expect(device.memory.liveBytes).toBe(live);
    },
    60_000,
  );
});
