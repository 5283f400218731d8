import { METHOD_CASES } from "../testing/method-cases.ts";
import { walkMethods } from "../testing/walk-method.ts";

// The usual ones; methods.slow.test.ts has the others.
const { randlora, lora, vera, hybrid } = METHOD_CASES;
walkMethods({ randlora, lora, vera, hybrid });
