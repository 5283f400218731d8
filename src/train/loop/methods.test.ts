import { METHOD_CASES } from "../testing/method-cases.ts";
import { walkMethods } from "../testing/walk-method.ts";

walkMethods(METHOD_CASES);
