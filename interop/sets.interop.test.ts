import { expect, test } from "bun:test";
import * as v from "valibot";
import { torchRandperm } from "../src/compute/random/randperm.ts";
import { pythonWithPeft, run } from "./environment.ts";

const SCRIPT = `
import json, random, sys
import torch
draw = random.Random(4)
lengths = [draw.randrange(1, 3000) for _ in range(20)]
splits = []
for seed, n in enumerate(lengths):
    train = int(n * 0.8)
    parts = torch.utils.data.random_split(range(n), [train, n - train], generator=torch.Generator().manual_seed(seed))
    splits.append([list(part.indices) for part in parts])
json.dump(splits, sys.stdout)
`;

const Answer = v.array(v.tuple([v.array(v.number()), v.array(v.number())]));

test("random splits are torch's", async () => {
  const splits = v.parse(Answer, JSON.parse(await run([await pythonWithPeft(), "-c", SCRIPT])));
  expect(splits).toHaveLength(20);
  for (const [seed, [train, rest]] of splits.entries()) {
    expect([...torchRandperm(train.length + rest.length, BigInt(seed))]).toEqual([...train, ...rest]);
  }
});
