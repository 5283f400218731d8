import { RandloraError } from "../src/files/errors.ts";
import { defineCommand, flag, text } from "../src/terminal/options/command.ts";

/** `randlora doctor`: what this machine offers, and whether it computes right. */
export const command = defineCommand({
  name: "doctor",
  otherNames: ["info", "devices", "gpus"],
  summary: "Show devices, drivers and folders, and check that the device computes right",
  example: "randlora doctor --verify",
  goesOnWithoutConfig: true,
  arguments: {},
  options: {
    verify: flag({
      help: "check every kernel against double precision, training and merging against stored results; writes a report file",
    }),
    out: text({
      value: "FILE",
      short: "o",
      help: "report file of --verify",
      defaultText: "randlora-doctor-N.json",
    }),
    force: flag({ help: "replace an existing output" }),
  },
  async run(_args, { verify, out, force }, context) {
    if (verify) {
      const { verifyDevice } = await import("../src/measure/doctor/verify/verify.ts");
      return await verifyDevice(out, force, context);
    }
    if (out !== undefined || force) {
      const cause = out === undefined ? "--force replaces the report file" : "--out is the report file";
      throw new RandloraError("usage", `${cause} of --verify`, "add --verify");
    }
    const { diagnose, diagnosisJson } = await import("../src/measure/doctor/doctor.ts");
    const { explainFailure, renderDiagnosis, warningsOf } = await import("../src/measure/doctor/report.ts");
    const diagnosis = await diagnose(context.device);
    context.result(diagnosisJson(diagnosis), () => renderDiagnosis(diagnosis, context.columns, context.style));
    for (const line of warningsOf(diagnosis)) context.log.warn(line);
    const failure = explainFailure(diagnosis);
    if (failure !== undefined) throw failure;
  },
});
