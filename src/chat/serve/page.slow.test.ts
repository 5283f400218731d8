import { expect, setDefaultTimeout, test } from "bun:test";
import { ChatPage } from "./testing/page.ts";
import { until } from "./testing/server.ts";

setDefaultTimeout(60_000);

const chat = ChatPage.forTests();

test("a conversation by keyboard: ask, get the API's answer, switch to an adapter, try again", async () => {
  await chat.setLength(12);
  const message = chat.page.getByLabel("Message");
  await message.fill("Once upon");
  await message.press("Shift+Enter");
  await message.pressSequentially("a time");
  await message.press("Enter");
  await chat.settle();
  const say = async (id: string): Promise<string> => {
    const messages = [{ role: "user" as const, content: "Once upon\na time" }];
    const body = { model: id, messages, max_tokens: 12, temperature: 0 };
    return (await chat.serving.client.chat.completions.create(body)).choices[0]?.message.content ?? "";
  };
  const words = (text: string) => text.replaceAll(/\s+/g, " ").trim();
  expect(words(await chat.answers().locator(".body").innerText())).toBe(words(await say("storyteller")));
  expect(await chat.answers().locator("footer").innerText()).toMatch(/storyteller · 12 tokens/);

  await chat.page.getByLabel("Model or adapter").selectOption("pirate");
  await chat.page.getByRole("button", { name: "Try again" }).click();
  await chat.settle();
  expect(words(await chat.answers().locator(".body").innerText())).toBe(words(await say("pirate")));
  expect(await chat.answers().count()).toBe(1);
  expect(await message.evaluate((field) => field.matches(":focus"))).toBeTrue();

  await chat.answers().evaluate((article) => article.setAttribute("data-kept", ""));
  await message.fill("Go on");
  await chat.page.getByRole("button", { name: "Send" }).click();
  await chat.settle();
  expect([await chat.answers().count(), await chat.page.locator("article.user").count()]).toEqual([2, 2]);
  // A screen reader would read the whole conversation out again if it were put into the log anew.
  expect(await chat.page.locator("[data-kept]").count()).toBe(1);
  expect(await chat.page.getByRole("button", { name: "Try again" }).count()).toBe(1);
  await chat.page.getByRole("button", { name: "New chat" }).click();
  expect(await chat.log().innerText()).toBe("");
  expect(chat.complaints).toEqual([]);
});

test("the page opens on what a request means that names no model; a choice and the conversation outlast a reload", async () => {
  await chat.open({ list: { preferred: "pirate" } });
  const choice = chat.page.getByLabel("Model or adapter");
  const message = chat.page.getByLabel("Message");
  await chat.page.locator("#model option").first().waitFor({ state: "attached" });
  expect(await choice.inputValue()).toBe("pirate");
  await chat.setLength(8);
  await message.fill("Once upon a time");
  await message.press("Enter");
  await chat.settle();
  await choice.selectOption("poet");
  await message.fill("Go on");
  await message.press("Enter");
  await chat.settle();
  const before = await chat.answers().allInnerTexts();
  await chat.page.reload();
  await chat.page.locator("#model option").first().waitFor({ state: "attached" });
  expect(await choice.inputValue()).toBe("poet");
  expect(await chat.answers().allInnerTexts()).toEqual(before);
  expect(await chat.page.locator("article.user").allInnerTexts()).toEqual(["Once upon a time", "Go on"]);
  // The model goes on with what was said before.
  const asked = chat.page.waitForRequest("**/v1/chat/completions");
  await message.fill("And then");
  await message.press("Enter");
  expect((await asked).postDataJSON().messages).toHaveLength(5);
  await chat.settle();
  await chat.page.getByRole("button", { name: "New chat" }).click();
  await chat.page.reload();
  expect(await chat.log().innerText()).toBe("");
  expect(chat.complaints).toEqual([]);
});

test("a page that is left while an answer is written keeps what there is, and a question without one", async () => {
  await chat.page.getByLabel("Message").fill("Once upon a time");
  await chat.page.getByLabel("Message").press("Enter");
  await until(async () => (await chat.answers().innerText()).length > 20);
  await chat.page.reload();
  expect(await chat.answers().innerText()).toContain("stopped");
  await chat.page.getByRole("button", { name: "New chat" }).click();
  await chat.page.route("**/v1/chat/completions", () => {}); // no answer comes
  await chat.page.getByLabel("Message").fill("Hello?");
  await chat.page.getByLabel("Message").press("Enter");
  await chat.page.reload();
  expect(await chat.page.getByLabel("Message").inputValue()).toBe("Hello?");
  expect(await chat.log().innerText()).toBe("");
});

test("the rate that is shown is the server's, however the pieces come", async () => {
  const events = [
    { choices: [{ delta: { content: "all at once" } }] },
    { choices: [], usage: { completion_tokens: 40 }, timings: { predicted_per_second: 12.34 } },
  ].map((event) => `data: ${JSON.stringify(event)}\n\n`);
  await chat.page.route("**/v1/chat/completions", (route) =>
    route.fulfill({ contentType: "text/event-stream", body: `${events.join("")}data: [DONE]\n\n` }),
  );
  await chat.page.getByLabel("Message").fill("Hi");
  await chat.page.getByLabel("Message").press("Enter");
  await chat.settle();
  expect(await chat.answers().locator("footer").innerText()).toContain("40 tokens · 12.3 tokens/s");
});

test.each(["Escape", "the button"])("an answer is stopped by %s, and what there is stays", async (how) => {
  await chat.page.getByLabel("Message").fill("Once upon a time");
  await chat.page.getByLabel("Message").press("Enter");
  await until(async () => (await chat.answers().innerText()).length > 20);
  if (how === "Escape") await chat.page.keyboard.press("Escape");
  else await chat.page.getByRole("button", { name: "Stop" }).click();
  await chat.settle();
  expect(await chat.answers().innerText()).toContain("stopped");
  await until(() => chat.serving.engine.load === 0);
  expect(chat.complaints).toEqual([]);
});

test("settings stay, errors are told, and the question with them", async () => {
  await chat.page.getByRole("button", { name: "Settings" }).click();
  await chat.page.getByLabel("System prompt").fill("word ".repeat(600));
  await chat.page.getByLabel("Message").fill("Hello");
  await chat.page.getByLabel("Message").press("Enter");
  await chat.page.getByRole("alert").filter({ hasText: "the context of this model ends at 512 tokens" }).waitFor();
  expect(await chat.page.getByLabel("Message").inputValue()).toBe("Hello");
  await chat.page.getByRole("button", { name: /^Colors/ }).click();
  await chat.page.getByRole("button", { name: /^Colors/ }).click();
  await chat.page.reload();
  expect(await chat.page.locator("html").getAttribute("data-theme")).toBe("dark");
  await chat.page.getByRole("button", { name: "Settings" }).click();
  expect(await chat.page.getByLabel("System prompt").inputValue()).toStartWith("word word");
});

test("a temperature is the server's until one is given, and again when that is taken back", async () => {
  const asked: unknown[] = [];
  await chat.page.route("**/v1/chat/completions", async (route) => {
    asked.push(route.request().postDataJSON().temperature);
    const body = JSON.stringify({ choices: [{ delta: { content: "Hello" } }] });
    await route.fulfill({ contentType: "text/event-stream", body: `data: ${body}\n\ndata: [DONE]\n\n` });
  });
  await chat.page.getByRole("button", { name: "Settings" }).click();
  for (const temperature of ["", "0.3", "0", ""]) {
    await chat.page.getByLabel("Temperature").fill(temperature);
    await chat.page.getByLabel("Message").fill("Hi");
    await chat.page.getByLabel("Message").press("Enter");
    await chat.settle();
  }
  expect(asked).toEqual([undefined, 0.3, 0, undefined]);
  // Empty fields show what is in force, and the others are sent as well.
  const shown = ["Temperature", "Top-k", "Top-p"].map((name) => chat.page.getByLabel(name).getAttribute("placeholder"));
  expect(await Promise.all(shown)).toEqual(["0", "0", "1"]);
});

test("where a key is wanted the page asks for it", async () => {
  await chat.open({ adapters: new Map(), apiKey: "secret" });
  await chat.page.getByRole("alert").filter({ hasText: "no API key" }).waitFor();
  await chat.page.getByLabel("API key").fill("secret");
  await chat.page.getByLabel("API key").press("Tab");
  await chat.page.locator("#model option").first().waitFor({ state: "attached" });
  expect(await chat.page.getByLabel("Model or adapter").inputValue()).toBe("storyteller");
});

test("what a model thought is folded away, as text, and is not sent back", async () => {
  const chunk = (delta: object): string => `data: ${JSON.stringify({ choices: [{ index: 0, delta }] })}\n\n`;
  const sent: unknown[] = [];
  // No small model thinks: the server's part is tested with its shapes.
  await chat.page.route("**/v1/chat/completions", async (route) => {
    sent.push(route.request().postDataJSON());
    const body = [{ reasoning_content: "Hm, <b>so" }, { reasoning_content: " be it" }, { content: "Yes." }].map(chunk);
    await route.fulfill({ contentType: "text/event-stream", body: `${body.join("")}data: [DONE]\n\n` });
  });
  const ask = async (text: string): Promise<void> => {
    await chat.page.getByLabel("Message").fill(text);
    await chat.page.getByRole("button", { name: "Send" }).click();
    await chat.settle();
  };
  await ask("Sure?");
  const thought = chat.answers().locator("details");
  expect(await thought.evaluate((one) => [one.hasAttribute("open"), one.lastElementChild?.textContent])).toEqual([
    false,
    "Hm, <b>so be it",
  ]);
  expect(await chat.answers().locator(".body").innerText()).toBe("Yes.");
  await ask("Really?");
  expect(sent.at(-1)).toMatchObject({
    messages: [
      { role: "user", content: "Sure?" },
      { role: "assistant", content: "Yes." },
      { role: "user", content: "Really?" },
    ],
  });
  expect(chat.complaints).toEqual([]);
});

test("the empty page names the model; Escape closes settings and chats; a phone's header is one row", async () => {
  const { page } = chat;
  await page.locator("#named").filter({ hasText: "storyteller." }).waitFor();
  await page.getByLabel("Model or adapter").selectOption("pirate");
  expect(await page.locator("#named").innerText()).toBe("pirate (adapter).");
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByRole("button", { name: "Chats" }).click();
  // The field stands below the messages, wherever these are.
  const middle = async (of: string) => {
    const { x, width } = (await page.locator(of).boundingBox()) ?? { x: NaN, width: NaN };
    return x + width / 2;
  };
  expect(Math.abs((await middle("#log")) - (await middle("#composer")))).toBeLessThan(2);
  await page.keyboard.press("Escape");
  expect(await page.locator("#settings, #chats").evaluateAll((all) => all.map((one) => one.checkVisibility()))).toEqual(
    [false, false],
  );
  await page.setViewportSize({ width: 375, height: 700 });
  const tops = await page.locator("header > :not(.sr, h1)").evaluateAll((all) => {
    return all.map((one) => one.getBoundingClientRect()).map(({ top, bottom, right }) => [(top + bottom) / 2, right]);
  });
  expect(new Set(tops.map(([center]) => Math.round(center ?? 0))).size).toBe(1);
  expect(Math.max(...tops.map(([, right]) => right ?? 0))).toBeLessThanOrEqual(375);
});

test("the cursor of an answer stands behind its last word", async () => {
  const body = JSON.stringify({ choices: [{ delta: { content: "One\n\n- two\n- **three** four" } }] });
  await chat.page.route("**/v1/chat/completions", async (route) => {
    await route.fulfill({ contentType: "text/event-stream", body: `data: ${body}\n\ndata: [DONE]\n\n` });
  });
  await chat.page.getByLabel("Message").fill("Hi");
  await chat.page.getByLabel("Message").press("Enter");
  await chat.settle();
  expect(await chat.answers().locator(".end").allInnerTexts()).toEqual(["three four"]);
  expect(
    await chat
      .answers()
      .locator(".end")
      .evaluateAll((all) => all.map((one) => one.tagName)),
  ).toEqual(["LI"]);
});
