import { expect, test } from "bun:test";
import { join } from "node:path";
import { runToEnd } from "../../files/testing/process.ts";

test.if(process.platform === "linux")(
  "garbage does not lie about for the size of the device's memory",
  async () => {
    const { stdout, ...rest } = await runToEnd([
      process.execPath,
      join(import.meta.dir, "testing/process.ts"),
      "garbage",
    ]);
    expect(rest).toEqual({ status: 0, stderr: "" });
    // Without a watch about 600.
    expect(Number(stdout)).toBeLessThan(300);
  },
  120_000,
);
