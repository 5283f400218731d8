import { expect, test } from "bun:test";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { memoryGroups } from "./machine-memory.ts";

async function groupsOf(files: Readonly<Record<string, string>>) {
  await using folder = await TemporaryFolder.with(files);
  return memoryGroups(folder.path);
}

test("version 2: what other processes of the group and of those around it have counts, cached files do not", async () => {
  expect(
    await groupsOf({
      "proc/self/cgroup": "0::/job_7/step_0\n",
      "sys/fs/cgroup/job_7/step_0/memory.max": "max\n",
      "sys/fs/cgroup/job_7/step_0/memory.current": "10\n",
      "sys/fs/cgroup/job_7/memory.max": "8000\n",
      "sys/fs/cgroup/job_7/memory.current": "5000\n",
      "sys/fs/cgroup/job_7/memory.stat": "anon 3000\nfile 2000\nactive_file 500\ninactive_file 1500\n",
    }),
  ).toEqual([{ limit: 8000, used: 3500 }]);
});

test("version 1, in a container that does not see the path of its group", async () => {
  expect(
    await groupsOf({
      "proc/self/cgroup": "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n0::/\n",
      "sys/fs/cgroup/memory/memory.limit_in_bytes": "8000\n",
      "sys/fs/cgroup/memory/memory.usage_in_bytes": "5000\n",
      "sys/fs/cgroup/memory/memory.stat": "inactive_file 9\ntotal_inactive_file 1000\n",
    }),
  ).toEqual([{ limit: 8000, used: 4000 }]);
});

test("systems without control groups have none", async () => {
  expect(await groupsOf({ "proc/version": "" })).toEqual([]);
});
