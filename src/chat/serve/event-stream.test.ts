import { expect, test } from "bun:test";
import { EVENTS, EventStream } from "./event-stream.ts";

const LONG = { text: "x".repeat(70_000) };

test("whoever sends waits for a reader, who is given up where he takes nothing", async () => {
  let left = 0;
  using stream = new EventStream(EVENTS, () => void left++, 0.05);
  const reader = stream.body.getReader();
  stream.send(LONG);
  const room = stream.room();
  await reader.read();
  await room;
  expect(left).toBe(0);
  stream.send(LONG);
  // Both of two texts go on, and learn that nobody wants them.
  await Promise.all([stream.room(), stream.room()]);
  expect(left).toBeGreaterThan(0);
});
