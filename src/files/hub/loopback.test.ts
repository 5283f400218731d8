import { expect, test } from "bun:test";
import { isLoopback } from "./loopback.ts";

test("loopback addresses", () => {
  const here = ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost", "hub.LOCALHOST"];
  expect(here.map(isLoopback)).not.toContain(false);
  const elsewhere = ["0.0.0.0", "::", "192.168.1.5", "127.evil.example", "example", "notlocalhost"];
  expect(elsewhere.map(isLoopback)).not.toContain(true);
});
