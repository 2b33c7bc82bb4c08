// The programs of both READMEs and of the guide run as they are printed; a server here stands in for the provider.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

// A folder of a user, with the package installed.
const folder = mkdtempSync(join(tmpdir(), 'raptorflow-'))
after(() => rmSync(folder, { recursive: true, force: true }))
mkdirSync(join(folder, 'node_modules'))
symlinkSync(fileURLToPath(new URL('..', import.meta.url)), join(folder, 'node_modules', 'raptorflow'), 'junction')

/** A JavaScript program of a page, by default the first. */
function program(page, index = 0) {
  const text = readFileSync(new URL(`../../${page}`, import.meta.url), 'utf8')
  return [...text.matchAll(/^```js\n(.*?)^```/gms)][index][1]
}

async function run(code, environment = {}) {
  const options = { cwd: folder, env: { ...process.env, ...environment }, timeout: 60_000 }
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', code], options)
  return stdout
}

/** Asks for the tool, then says what it answered; in the wire format of OpenAI, as a stream. */
function provider(requests) {
  return createServer(async (request, response) => {
    let text = ''
    for await (const data of request) text += data
    const { messages, tools } = JSON.parse(text)
    requests.push({ messages, tools })
    const last = messages.at(-1)
    const answered = last.role === 'tool'
    const deltas = answered
      ? [{ content: 'It is ' }, { content: `${last.content}.` }]
      : [{ tool_calls: [{ index: 0, id: 'c1', type: 'function', function: { name: 'add_gst', arguments: '{"net": 1000}' } }] }]
    const chunks = deltas.map((delta) => ({ choices: [{ index: 0, delta }] }))
    chunks.push({ choices: [{ index: 0, delta: {}, finish_reason: answered ? 'stop' : 'tool_calls' }] })
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const chunk of chunks) response.write(`data: ${JSON.stringify(chunk)}\n\n`)
    response.end('data: [DONE]\n\n')
  })
}

test('the program of the front page calls its tool through a provider', async () => {
  const requests = []
  const server = provider(requests)
  await new Promise((done) => server.listen(0, '127.0.0.1', done))
  try {
    const OPENAI_BASE_URL = `http://127.0.0.1:${server.address().port}/v1`
    assert.equal(await run(program('README.md'), { OPENAI_BASE_URL, OPENAI_API_KEY: 'sk-of-a-test' }), 'It is 1180.\n')
  } finally {
    server.close()
  }
  assert.equal(requests[0].tools[0].function.description, 'Adds GST to a net amount in rupees.')
  assert.deepEqual(requests[1].messages.map(({ role }) => role), ['user', 'assistant', 'tool'])
})

test('the program of the package runs', async () => {
  assert.match(await run(program('raptorflow-node/README.md')), /^HELLO [0-9a-f-]{36}\n$/)
  assert.ok(existsSync(join(folder, 'team.db')))
})

test('the workflow of the package asks and publishes', async () => {
  assert.equal(await run(program('raptorflow-node/README.md', 1)), 'About lamps. (publish)\n')
})

test('the workflow of the guide asks and publishes', async () => {
  assert.equal(await run(program('docs/guide/workflows.md')), 'ABOUT LAMPS.\n')
})

test('the budget of the guide stops and goes on', async () => {
  assert.equal(await run(program('docs/guide/budgets.md')), '0.004000 USD\n')
})
