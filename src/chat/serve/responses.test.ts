import { describe, expect, test } from "bun:test";
import { failure } from "./testing/server.ts";
import { chatAnswer, MESSAGES, PARAMETERS, serveTools } from "./testing/shapes.ts";

const served = serveTools();

describe("/v1/responses", () => {
  test("says what a chat says, whole and as OpenAI's events", async () => {
    const body = { model: "any name", input: MESSAGES[0]?.content ?? "", max_output_tokens: 12, temperature: 0 };
    const whole = await served.client.responses.create(body);
    const text = await chatAnswer(served);
    expect([whole.status, whole.output_text]).toEqual(["incomplete", text]);
    expect(whole.usage).toMatchObject({ output_tokens: 12 });
    // The item that was cut off says so, too, and a response repeats what was asked for.
    expect(whole.output.at(-1)).toMatchObject({ status: "incomplete" });
    expect(whole).toMatchObject({ tools: [], tool_choice: "auto", parallel_tool_calls: true, max_output_tokens: 12 });
    const stream = served.client.responses.stream({ ...body, instructions: "Be kind." });
    let written = "";
    const types: string[] = [];
    for await (const event of stream) {
      types.push(event.type);
      if (event.type === "response.output_text.delta") written += event.delta;
    }
    const final = await stream.finalResponse();
    expect(final.output_text).toBe(written);
    expect(written).toBe(
      await chatAnswer(served, { messages: [{ role: "system", content: "Be kind." }, ...MESSAGES] }),
    );
    expect(types.slice(0, 4)).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
    ]);
    expect(types.slice(-4)).toEqual([
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.incomplete",
    ]);
  });

  test("calls functions, takes their results, and answers by a schema", async () => {
    const tools = [{ type: "function" as const, name: "f", parameters: PARAMETERS, strict: true }];
    const first = await served.client.responses.create({
      model: "storyteller",
      input: "Go",
      tools,
      tool_choice: { type: "function", name: "f" },
      max_output_tokens: 80,
    });
    expect(first).toMatchObject({ tools, tool_choice: { type: "function", name: "f" } });
    const [call] = first.output;
    if (call?.type !== "function_call") throw new Error("no call");
    expect([call.name, [1, 2].includes(JSON.parse(call.arguments).a)]).toEqual(["f", true]);
    const second = await served.client.responses.create({
      model: "storyteller",
      input: [
        { role: "user", content: [{ type: "input_text", text: "Go" }] },
        call,
        { type: "function_call_output", call_id: call.call_id, output: "done" },
      ],
      text: { format: { type: "json_schema", name: "x", schema: { const: { ok: true } } } },
    });
    expect([second.status, JSON.parse(second.output_text)]).toEqual(["completed", { ok: true }]);
  });

  test("refuses by name what it does not do", async () => {
    const ask = async (extra: object): Promise<unknown> =>
      await failure(served.client.responses.create({ model: "storyteller", input: "Hi", ...extra }));
    expect(await ask({ previous_response_id: "resp_1" })).toMatchObject({ status: 400, param: "previous_response_id" });
    expect(await ask({ reasoning: { effort: "low" } })).toMatchObject({
      status: 400,
      param: "reasoning.effort",
      message: expect.stringContaining("reasoning.effort: the model's chat template knows no such levels"),
    });
    const tools = [{ type: "web_search" }];
    expect(await ask({ tools, tool_choice: "required" })).toMatchObject({ status: 400, param: "tool_choice" });
    expect(await ask({ tools, tool_choice: tools[0] })).toMatchObject({ status: 400, param: "tool_choice.type" });
    expect(await ask({ input: [{ type: "item_reference", id: "x" }] })).toMatchObject({
      status: 400,
      param: "input.0.type",
    });
  });
});
