import { METHOD_CASES } from "../testing/method-cases.ts";
import { walkMethod } from "../testing/walk-method.ts";

for (const [method, asked] of Object.entries(METHOD_CASES)) walkMethod(method, asked);
