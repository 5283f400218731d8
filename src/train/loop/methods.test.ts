import { METHOD_CASES } from "../testing/method-cases.ts";
import { walkMethods } from "../testing/walk-method.ts";

// Of formula methods two take the walk here, the others in methods.slow.test.ts.
const { c3a: _c3a, gralora: _gralora, hira: _hira, ...others } = METHOD_CASES;
walkMethods(others);
