import { defineCommand } from "../src/terminal/options/command.ts";

/** @json licenses */
interface LicensesJson {
  readonly license: string;
  readonly notices: string;
}

/** `randlora licenses`: what the binary contains of others, and on which terms. */
export const command = defineCommand({
  name: "licenses",
  summary: "Show the licenses of what the program contains",
  example: "randlora licenses | less",
  arguments: {},
  options: {},
  async run(_args, _options, context) {
    const { default: notices } = await import("../THIRD_PARTY_NOTICES.txt", { with: { type: "text" } });
    const json: LicensesJson = { license: "Apache-2.0", notices };
    context.result(json, () => notices);
  },
});
