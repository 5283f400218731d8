import { expect, test } from "bun:test";
import { requireSpace } from "./disk.ts";

test("what has no room on the disk is refused by its name, before it is written", async () => {
  const disk = (bytes: number | undefined) => async (folder: string) => (folder === "/models" ? bytes : 0);
  await requireSpace("/models/out", 5e6, disk(5e6));
  await requireSpace("/models/out", 5e6, disk(undefined));
  const message = "/models/out: it takes 5.0 MB, and the disk has 4.0 MB free";
  await expect(requireSpace("/models/out", 5e6, disk(4e6))).rejects.toMatchObject({ code: "file", message });
});

test("a disk says what it has free", async () => {
  await requireSpace(`${import.meta.dir}/x`, 1);
  await expect(requireSpace(`${import.meta.dir}/x`, 1e18)).rejects.toThrow("MB free");
  // Of a folder that is yet to be made.
  await expect(requireSpace(`${import.meta.dir}/no/such/x`, 1e18)).rejects.toThrow("MB free");
});
