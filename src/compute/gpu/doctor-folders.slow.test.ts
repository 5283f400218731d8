import { afterAll, expect, test } from "bun:test";
import { checkTempFolder } from "./doctor-folders.ts";
import { mountNoexec } from "./testing/gpu.ts";

// Without the right to mount, any folder that is mounted so will do; where there is none, nothing can be seen.
const mount = await mountNoexec();
afterAll(() => mount?.[Symbol.asyncDispose]());

test.skipIf(mount === undefined)("noexec is noticed", () => {
  expect(checkTempFolder({ BUN_TMPDIR: mount?.path })).toMatchObject({ writable: true, executable: false });
});
