import { METHOD_CASES } from "../testing/method-cases.ts";
import { walkMethods } from "../testing/walk-method.ts";

// What methods.test.ts leaves out.
const { randlora: _randlora, lora: _lora, vera: _vera, hybrid: _hybrid, ...others } = METHOD_CASES;
walkMethods(others);
