import { expect, test } from "bun:test";
import { copyFile, mkdir, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../../fixtures/stories/storyteller.ts";
import { TEST_DEVICE } from "../compute/device/testing/open.ts";
import { TemporaryFolder } from "../files/testing/folder.ts";
import { LanguageModel } from "./language-model.ts";

test.skipIf(process.platform !== "linux")("who checks adapters at once opens the weights' file once", async () => {
  await using folder = await TemporaryFolder.create();
  const weights = folder.at("own.safetensors");
  await copyFile(join(STORIES, "model.safetensors"), weights);
  await mkdir(folder.at("no-adapter"));
  const opened = async () => {
    const open = (await readdir("/proc/self/fd")).map(
      async (fd) => await readlink(`/proc/self/fd/${fd}`).catch(() => ""),
    );
    return (await Promise.all(open)).filter((path) => path === weights).length;
  };
  {
    await using model = await LanguageModel.load({ location: { folder: STORIES, weights }, device: TEST_DEVICE });
    const checks = Array.from({ length: 3 }, () => model.checkAdapters([{ path: folder.at("no-adapter"), scale: 1 }]));
    expect((await Promise.allSettled(checks)).map(({ status }) => status)).toEqual([
      "rejected",
      "rejected",
      "rejected",
    ]);
    expect(await opened()).toBe(1);
  }
  expect(await opened()).toBe(0);
});
