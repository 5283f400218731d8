import { defineCommand } from "../src/terminal/options/command.ts";

/** `randlora doctor`: what this machine offers, and whether it computes right. */
export const command = defineCommand({
  name: "doctor",
  otherNames: ["info", "devices", "gpus"],
  summary: "Show the devices, the drivers and the folders in use, and check that the device computes right",
  example: "randlora doctor --device software",
  arguments: {},
  options: {},
  async run(_args, _options, context) {
    const { diagnose, diagnosisJson } = await import("../src/measure/doctor/doctor.ts");
    const { renderDiagnosis } = await import("../src/measure/doctor/report.ts");
    const { explainFailure, warningsOf } = await import("../src/measure/doctor/advice.ts");
    const diagnosis = await diagnose(context.device);
    context.result(diagnosisJson(diagnosis), () => renderDiagnosis(diagnosis, context.columns, context.style));
    for (const line of warningsOf(diagnosis)) context.log.warn(line);
    const failure = explainFailure(diagnosis);
    if (failure !== undefined) throw failure;
  },
});
