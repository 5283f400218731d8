import { expect, test } from "bun:test";
import { isIPv6 } from "node:net";
import { schemaGrammar } from "./json-schema.ts";
import { follows, writeRandomly } from "./testing/write.ts";

/** Numbers from 0 up to 1. */
function randomly(): () => number {
  let state = 7;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}

test("strings of a format are so by other readers", () => {
  for (const [format, holds, usual] of [
    ["ipv6", isIPv6, "2001:db8::1"],
    ["uri", URL.canParse, "https://example.com:80/a/b%20c?q=1#d"],
    ["hostname", (value: string) => new URL(`http://${value}`).hostname === value.toLowerCase(), "my-host.example.com"],
    // zod's expression.
    [
      "duration",
      (value: string) =>
        /^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$/.test(value),
      "P1Y2M3DT4H5M6S",
    ],
  ] as const) {
    const grammar = schemaGrammar({ type: "string", format, maxLength: 2083 });
    expect([format, follows(grammar, JSON.stringify(usual))]).toEqual([format, true]);
    const random = randomly();
    for (let count = 0; count < 6; count++) {
      const text: string = JSON.parse(writeRandomly(grammar, random, 50));
      expect([format, text, holds(text)]).toEqual([format, text, true]);
    }
  }
});

test("of a format those strings are written that people write, also where their length is bounded", () => {
  for (const [format, ...values] of [
    ["date", "2024-12-31", "2024-02-29", "2000-02-29", "2023-04-30"],
    ["date-time", "2024-01-30T23:59:59Z"],
    ["uuid", "550e8400-e29b-41d4-a716-446655440000", "018F3C5E-7b1a-7cc0-8000-000000000000"],
    ["ipv6", "2001:0DB8::1", "::1"],
    ["hostname", "localhost", "node1", "my-host-01.eu-west-1.compute.internal"],
    ["email", "John.Doe@Example.com", "a.b.c.d+e@mail.example.museum"],
    ["duration", "PT86400S", "P1DT12H"],
    [
      "uri",
      "http://127.0.0.1:11434/v1",
      "https://GitHub.com/a?b=%2fc#d",
      "https://a1b2.execute-api.us-east-1.amazonaws.com/p",
    ],
  ] as const) {
    for (const maxLength of [undefined, 60, 255]) {
      const grammar = schemaGrammar({ type: "string", format, minLength: 1, maxLength });
      const left = values.filter((value) => !follows(grammar, JSON.stringify(value)));
      expect([format, maxLength, left]).toEqual([format, maxLength, []]);
      const text: string = JSON.parse(writeRandomly(grammar, randomly(), 999));
      expect(text.length).toBeLessThanOrEqual(maxLength ?? Infinity);
    }
  }
  const dates = schemaGrammar({ type: "string", format: "date" });
  const none = ["2023-02-29", "1900-02-29", "2024-02-30", "2024-04-31", "2024-12-32"];
  expect(none.filter((value) => follows(dates, JSON.stringify(value)))).toEqual([]);
});

test("a pattern beside a format, as zod writes them: strings hold both", () => {
  const date =
    "(?:(?:\\d\\d[2468][048]|\\d\\d[13579][26]|\\d\\d0[48]|[02468][048]00|[13579][26]00)-02-29|\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|(?:02)-(?:0[1-9]|1\\d|2[0-8])))";
  for (const [format, pattern, taken, left] of [
    ["date", `^${date}$`, "2024-12-02", "2024-13-02"],
    [
      "date-time",
      `^${date}T(?:(?:[01]\\d|2[0-3]):[0-5]\\d(?::[0-5]\\d(?:\\.\\d+)?)?(?:Z))$`,
      "2024-12-02T10:00:00Z",
      "2024-12-02T10:00:00+01:00",
    ],
    ["time", "^(?:[01]\\d|2[0-3]):[0-5]\\d(?::[0-5]\\d(?:\\.\\d+)?)?$", "23:59:00", "23:59:00Z"],
    ["uri", "^https://", "https://a.example/", "http://a.example/"],
    ["email", "@example\\.com$", "a.b@example.com", "a@example.org"],
    [
      "email",
      "^(?!\\.)(?!.*\\.\\.)([A-Za-z0-9_'+\\-\\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\\-]*\\.)+[A-Za-z]{2,}$",
      "Jane.Doe+a@mail.example.com",
      ".a@example.com",
    ],
    ["hostname", "^(?=.*-)(?=[a-z.-]+$).+\\.com", "a-b.example.com", "A-b.example.com"],
  ] as const) {
    const grammar = schemaGrammar({ type: "string", format, pattern, minLength: 3 });
    const follow = (text: string) => follows(grammar, JSON.stringify(text));
    expect([format, follow(taken), follow(left)]).toEqual([format, true, false]);
    const text: string = JSON.parse(writeRandomly(grammar, randomly(), 60));
    expect([text, new RegExp(pattern, "u").test(text)]).toEqual([text, true]);
  }
  // A length that the format keeps by itself is not counted.
  const long = { type: "string", format: "uri", pattern: "^https:", minLength: 1, maxLength: 2083 };
  expect(follows(schemaGrammar(long), '"https://a.example"')).toBeTrue();
  // Each is there once.
  const fields = Array.from({ length: 60 }, (_, at) => [
    `url ${at}`,
    { type: "string", format: "uri", pattern: "^https:" },
  ]);
  expect(
    follows(schemaGrammar({ properties: Object.fromEntries(fields) }), '{"url 59":"https://a.example"}'),
  ).toBeTrue();
});
