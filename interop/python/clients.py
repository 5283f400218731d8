"""Talks to a server as programs do, through the clients that they use. Prints what it saw as JSON; `clients.interop.test.ts` judges.

usage: clients.py ADDRESS
"""

import json
import sys

import jsonschema
import ollama
import openai
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

ADDRESS = sys.argv[1]
BASE = ADDRESS + "/v1"
QUESTION = "How is the weather?"
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": PARAMETERS}}


def checked(arguments) -> bool:
    value = json.loads(arguments) if isinstance(arguments, str) else arguments
    jsonschema.validate(value, PARAMETERS)
    return True


def with_openai() -> dict:
    """A loop of three calls, streamed: each result goes into the next prompt."""
    client = openai.OpenAI(base_url=BASE, api_key="none", max_retries=0)
    messages = [{"role": "user", "content": QUESTION}]
    calls = 0
    for seed in range(3):
        with client.chat.completions.stream(
            model="any", messages=messages, tools=[WEATHER], tool_choice="required", parallel_tool_calls=False,
            temperature=2, seed=seed, max_tokens=100,
        ) as stream:
            for _ in stream:
                pass
            message = stream.get_final_completion().choices[0].message
        (call,) = message.tool_calls
        calls += checked(call.function.arguments)
        messages.append(message.model_dump(exclude_none=True, exclude={"parsed"}))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "sunny"})
    response = client.responses.create(
        model="any", input=QUESTION,
        text={"format": {"type": "json_schema", "name": "weather", "schema": PARAMETERS, "strict": True}},
        max_output_tokens=100,
    )
    decoded = client.embeddings.create(model="any", input=[QUESTION, "Rome"])
    plain = client.embeddings.create(model="any", input=[QUESTION, "Rome"], encoding_format="float")
    vectors = [item.embedding for item in decoded.data]
    embeddings = vectors == [item.embedding for item in plain.data] and all(abs(sum(x * x for x in v) - 1) < 1e-5 for v in vectors)
    return {"calls": calls, "responses": checked(response.output_text), "embeddings": embeddings}


def with_langchain() -> dict:
    model = ChatOpenAI(base_url=BASE, api_key="none", model="any", max_tokens=100, temperature=1, max_retries=0)
    bound = model.bind_tools([WEATHER], tool_choice="required", parallel_tool_calls=False)
    messages = [HumanMessage(QUESTION)]
    calls = 0
    for _ in range(3):
        answer = None
        for chunk in bound.stream(messages):
            answer = chunk if answer is None else answer + chunk
        (call,) = answer.tool_calls
        calls += checked(call["args"])
        messages += [answer, ToolMessage("sunny", tool_call_id=call["id"])]
    schema = {"title": "weather", **PARAMETERS}
    structured = model.with_structured_output(schema, method="json_schema").invoke(QUESTION)
    return {"calls": calls, "structured": checked(structured)}


def with_llama_index() -> dict:
    model = OpenAILike(
        api_base=BASE, api_key="none", model="any", max_tokens=8, temperature=0, max_retries=0,
        is_chat_model=True, is_function_calling_model=True, context_window=2048,
    )
    message = ChatMessage(role="user", content=QUESTION)
    whole = model.chat([message]).message.content
    streamed = "".join(piece.delta or "" for piece in model.stream_chat([message]))
    return {"same": whole == streamed and whole != ""}


def with_ollama() -> dict:
    client = ollama.Client(host=ADDRESS)
    messages = [{"role": "user", "content": QUESTION}]
    options = {"temperature": 0, "num_predict": 8}
    whole = client.chat(model="any", messages=messages, options=options).message.content
    streamed = "".join(part.message.content for part in client.chat(model="any", messages=messages, options=options, stream=True))
    answer = client.chat(model="any", messages=messages, format=PARAMETERS, options={"num_predict": 100}).message.content
    generated = client.generate(model="any", prompt=QUESTION, options=options).response
    history = messages + [
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Rome", "days": 1}}}]},
        {"role": "tool", "content": "sunny", "tool_name": "weather"},
    ]
    after = client.chat(model="any", messages=history, tools=[WEATHER], options=options)
    shown = client.show("any")
    openai_client = openai.OpenAI(base_url=BASE, api_key="none", max_retries=0)
    vectors = [item.embedding for item in openai_client.embeddings.create(model="any", input=[QUESTION, "Rome"], encoding_format="float").data]
    return {
        "same": whole == streamed == generated and whole != "",
        "format": checked(answer),
        "after_tools": after.done_reason,
        "embeddings": [list(v) for v in client.embed(model="any", input=[QUESTION, "Rome"]).embeddings] == vectors,
        "shown": [shown.details.format, shown.modelinfo["llama.context_length"], shown.capabilities],
        "models": [(model.model, model.size > 1e6, model.details.family) for model in client.list().models],
        "running": [model.model for model in client.ps().models],
    }


print(json.dumps({
    "openai": with_openai(),
    "langchain": with_langchain(),
    "llama_index": with_llama_index(),
    "ollama": with_ollama(),
}))
