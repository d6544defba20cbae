// Counts tokens as OpenAI's models do: node tokens.mjs < JSON list of texts; prints for each what the encodings
// o200k_base and cl100k_base make of it.
import { countTokens as o200k } from 'gpt-tokenizer/encoding/o200k_base'
import { countTokens as cl100k } from 'gpt-tokenizer/encoding/cl100k_base'
import { text } from 'node:stream/consumers'

const asText = { disallowedSpecial: new Set() }
const texts = JSON.parse(await text(process.stdin))
console.log(JSON.stringify(texts.map((each) => [o200k(each, asText), cl100k(each, asText)])))
