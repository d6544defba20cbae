// The official Node SDK against a gateway: node sdk.mjs BASE_URL. Prints one JSON object of what it got.
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: process.argv[2], apiKey: 'placeholder', maxRetries: 0 });
const messages = [{ role: 'user', content: 'Hello' }];
const model = 'gpt-4o-mini';

const whole = await client.chat.completions.create({ model, messages });
let streamed = '';
let pieces = 0;
for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
  streamed += chunk.choices[0]?.delta?.content ?? '';
  pieces += 1;
}
const embedding = await client.embeddings.create({ model: 'text-embedding-3-small', input: 'a' });
const response = await client.responses.create({ model, input: 'Hello' });
let said = '';
for await (const event of await client.responses.create({ model, input: 'Hello', stream: true })) {
  if (event.type === 'response.output_text.delta') said += event.delta;
}
const models = [];
for await (const each of client.models.list()) models.push(each.id);
const moderation = await client.moderations.create({ input: 'Hello' });

const failures = {};
for (const [name, body] of Object.entries({
  NotFoundError: { model: 'no-such-model', messages },
  BadRequestError: { model, messages, api_base: 'http://127.0.0.1' },
})) {
  try {
    await client.chat.completions.create(body);
  } catch (error) {
    failures[name] = [error.constructor.name, error.status, error.message];
  }
}

console.log(
  JSON.stringify({
    whole: whole.choices[0].message.content,
    streamed,
    pieces,
    embedding: embedding.data[0].embedding.length,
    response: response.output_text,
    said,
    models,
    flagged: moderation.results[0].flagged,
    failures,
  }),
);
