import { expect, test } from "bun:test";
import { cpuQuota } from "./cores.ts";

const OWN = "/proc/self/cgroup";
const among = (files: Readonly<Record<string, string>>) => cpuQuota((path) => files[path]);

test("cgroup v2: the least quota from the process's group up to the root", () => {
  const at = (path: string) => `/sys/fs/cgroup${path}/cpu.max`;
  expect(among({ [OWN]: "0::/\n", [at("")]: "150000 100000\n" })).toBe(1.5);
  const nested = { [OWN]: "0::/pod/box\n", [at("")]: "max 100000\n", [at("/pod")]: "200000 100000\n" };
  expect(among({ ...nested, [at("/pod/box")]: "max 100000\n" })).toBe(2);
  expect(among({ ...nested, [at("/pod/box")]: "50000 100000\n" })).toBe(0.5);
});

test("cgroup v1: quota and period are files of the controller's own hierarchy", () => {
  const at = (path: string, name: string) => `/sys/fs/cgroup/cpu,cpuacct${path}/cpu.cfs_${name}_us`;
  const quota = (path: string, value: number) => ({
    [at(path, "quota")]: `${value}\n`,
    [at(path, "period")]: "50000\n",
  });
  const own = { [OWN]: "9:memory:/m\n4:cpu,cpuacct:/job/step\n3:cpuset:/\n0::/\n" };
  expect(among({ ...own, ...quota("", -1), ...quota("/job", 150_000), ...quota("/job/step", -1) })).toBe(3);
  // A container sees its own group as the root, and perhaps its path on the host.
  expect(among({ ...own, ...quota("", 200_000) })).toBe(4);
});

test("without a quota, or without control groups, nothing is limited", () => {
  for (const files of [
    {},
    { [OWN]: "0::/\n" },
    { [OWN]: "0::/a\n", "/sys/fs/cgroup/a/cpu.max": "max 100000\n" },
    {
      [OWN]: "1:cpu:/\n",
      "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
      "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    },
  ]) {
    expect(among(files)).toBe(Infinity);
  }
});
