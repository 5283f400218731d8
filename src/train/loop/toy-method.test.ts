// The template of an adapter method (CONTRIBUTING.md), on the walk of those that the program has.
import { afterAll } from "bun:test";
import { registered } from "../../adapters/testing/registered.ts";
import { template } from "../../adapters/testing/template-method.ts";
import { walkMethods } from "../testing/walk-method.ts";

const toy = registered(template);
afterAll(() => toy[Symbol.dispose]());

const asked = { rank: 4, learningRate: 1e-2 };
walkMethods({ template: { asked, trained: ["template_A", "template_B"] } });
