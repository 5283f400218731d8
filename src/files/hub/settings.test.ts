import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { TemporaryFolder } from "../testing/folder.ts";
import { hubSettings } from "./settings.ts";

const { path: folder } = await TemporaryFolder.forTests();

function cacheDir(environment: Record<string, string>): string {
  return hubSettings(environment).cacheDir;
}

test("without variables: the public Hub and the cache that Python uses", () => {
  expect(hubSettings({ HF_TOKEN_PATH: join(folder, "none") })).toEqual({
    endpoint: "https://huggingface.co",
    cacheDir: join(homedir(), ".cache", "huggingface", "hub"),
    token: undefined,
    offline: false,
    symlinks: true,
    timeoutMs: 10_000,
    retryDelayMs: 1000,
  });
});

test("the cache folder follows Python's precedence", () => {
  const all = { HF_HUB_CACHE: "/a", HUGGINGFACE_HUB_CACHE: "/b", HF_HOME: "/c", XDG_CACHE_HOME: "/d" };
  expect(cacheDir(all)).toBe("/a");
  expect(cacheDir({ ...all, HF_HUB_CACHE: "" })).toBe("/b");
  expect(cacheDir({ HF_HOME: "/c", XDG_CACHE_HOME: "/d" })).toBe(join("/c", "hub"));
  expect(cacheDir({ XDG_CACHE_HOME: "/d" })).toBe(join("/d", "huggingface", "hub"));
  expect(cacheDir({ HF_HOME: "~/x" })).toBe(join(homedir(), "x", "hub"));
  expect(cacheDir({ HF_HOME: "$DISK/x/${USER_}", DISK: "/disk", USER_: "me" })).toBe(join("/disk", "x", "me", "hub"));
});

test("the token comes from the environment, else from the file of `hf auth login`", () => {
  mkdirSync(join(folder, "home"));
  writeFileSync(join(folder, "home", "token"), "hf_file\n");
  const home = { HF_HOME: join(folder, "home") };
  expect(hubSettings(home).token).toBe("hf_file");
  expect(hubSettings({ ...home, HUGGING_FACE_HUB_TOKEN: "hf_old" }).token).toBe("hf_old");
  expect(hubSettings({ ...home, HF_TOKEN: " hf_new\n", HUGGING_FACE_HUB_TOKEN: "hf_old" }).token).toBe("hf_new");
  expect(hubSettings({ ...home, HF_TOKEN: "hf_new", HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" }).token).toBeUndefined();
});

test("switches are on for 1, on, yes and true in any case, off for anything else", () => {
  for (const text of ["1", "ON", "yes", "True"]) expect(hubSettings({ HF_HUB_OFFLINE: text }).offline).toBe(true);
  for (const text of ["0", "off", "", "2"]) expect(hubSettings({ HF_HUB_OFFLINE: text }).offline).toBe(false);
  expect(hubSettings({ TRANSFORMERS_OFFLINE: "1" }).offline).toBe(true);
  expect(hubSettings({ HF_HUB_OFFLINE: "0", TRANSFORMERS_OFFLINE: "1" }).offline).toBe(false);
  expect(hubSettings({ HF_HUB_DISABLE_SYMLINKS: "1" }).symlinks).toBe(false);
});

test("slashes at the endpoint's end go, a timeout must be a positive number", () => {
  expect(hubSettings({ HF_ENDPOINT: "http://mirror/hub//" }).endpoint).toBe("http://mirror/hub");
  expect(hubSettings({ HF_HUB_DOWNLOAD_TIMEOUT: "2.5" }).timeoutMs).toBe(2500);
  expect(hubSettings({ HF_HUB_DOWNLOAD_TIMEOUT: "-1" }).timeoutMs).toBe(10_000);
});
