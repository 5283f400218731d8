import { expect, test } from "bun:test";
import { TrustedProxies } from "./proxy.ts";

const proxies = new TrustedProxies(["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"]);
const client = (peer: string, headers: Record<string, string>): string => proxies.clientOf(peer, new Headers(headers));

test.each<[string, Record<string, string>, string]>([
  ["127.0.0.1", {}, "127.0.0.1"],
  ["192.0.2.9", { "x-forwarded-for": "1.2.3.4" }, "192.0.2.9"],
  ["127.0.0.1", { "x-forwarded-for": "1.2.3.4" }, "1.2.3.4"],
  ["::ffff:127.0.0.1", { "x-forwarded-for": "1.2.3.4" }, "1.2.3.4"],
  ["127.0.0.1", { "x-forwarded-for": "6.6.6.6, 1.2.3.4, 10.1.1.1" }, "1.2.3.4"],
  ["127.0.0.1", { "x-forwarded-for": "made up, 10.1.1.1" }, "10.1.1.1"],
  ["127.0.0.1", { "x-forwarded-for": "1.2.3.4:80" }, "1.2.3.4"],
  ["2001:db8::7", { forwarded: 'for="[2001:dead::1]:4711";proto=https, for=10.0.0.2;by=10.0.0.1' }, "2001:dead::1"],
  ["127.0.0.1", { forwarded: "for=unknown" }, "127.0.0.1"],
  ["127.0.0.1", { forwarded: "for=1.1.1.1", "x-forwarded-for": "2.2.2.2" }, "127.0.0.1"],
  ["127.0.0.1", { forwarded: "for=1.1.1.1", "x-forwarded-for": "6.6.6.6, 1.1.1.1" }, "1.1.1.1"],
  ["127.0.0.1", { "x-forwarded-for": "9.9.9.9,".repeat(1000) + "1.2.3.4" }, "1.2.3.4"],
])("%s with %j is %s", (peer, headers, wanted) => {
  expect(client(peer, headers)).toBe(wanted);
});

test("without trusted proxies nobody's word is taken; what is no address is refused", () => {
  const none = new TrustedProxies([]);
  expect(none.clientOf("127.0.0.1", new Headers({ "x-forwarded-for": "1.2.3.4" }))).toBe("127.0.0.1");
  for (const text of ["proxy", "10.0.0.0/33", "10.0.0.0/", "::1/129", "1.1.1.1/8/8"]) {
    expect(() => new TrustedProxies([text])).toThrow(`--trusted-proxy ${text}: this is no address`);
  }
});
