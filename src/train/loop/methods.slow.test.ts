import { METHOD_CASES } from "../testing/method-cases.ts";
import { walkMethods } from "../testing/walk-method.ts";

// What methods.test.ts leaves out.
const { c3a, gralora, hira } = METHOD_CASES;
walkMethods({ c3a, gralora, hira });
