// The program of the front page runs as it is printed; a server on this machine stands in for the provider.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const folder = fileURLToPath(new URL('..', import.meta.url))
const page = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')

/** Asks for the tool `add_gst`, then says what it answered; in the wire format of OpenAI, as a stream. */
function provider(requests) {
  return createServer(async (request, response) => {
    const parts = []
    for await (const part of request) parts.push(part)
    const asked = JSON.parse(Buffer.concat(parts).toString('utf8'))
    requests.push(asked)
    const last = asked.messages.at(-1)
    const call = { index: 0, id: 'c1', type: 'function', function: { name: 'add_gst', arguments: '{"net": 1000}' } }
    const delta = last.role === 'tool' ? { content: `It is ${last.content}.` } : { tool_calls: [call] }
    const end = { index: 0, delta: {}, finish_reason: last.role === 'tool' ? 'stop' : 'tool_calls' }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const choice of [{ index: 0, delta }, end]) {
      response.write(`data: ${JSON.stringify({ choices: [choice] })}\n\n`)
    }
    response.end('data: [DONE]\n\n')
  })
}

test('the program of the front page calls its tool through a provider', async ({ signal }) => {
  const program = /^```js\n([\s\S]*?)^```/m.exec(page)?.[1]
  assert.ok(program, 'the front page has no program in JavaScript')
  const requests = []
  const server = provider(requests)
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening))
  try {
    const env = {
      PATH: process.env.PATH,
      OPENAI_API_KEY: 'sk-of-a-test',
      OPENAI_BASE_URL: `http://127.0.0.1:${server.address().port}/v1`,
    }
    const options = { cwd: folder, env, signal, timeout: 60_000 }
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program], options)
    assert.equal(stdout, 'It is 1180.\n')
  } finally {
    server.close()
  }
  assert.equal(requests[0].tools[0].function.description, 'Adds GST to a net amount in rupees.')
  assert.deepEqual(requests[1].messages.map((message) => message.role), ['user', 'assistant', 'tool'])
})
