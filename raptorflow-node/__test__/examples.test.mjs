// Every example runs offline and says what it should.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const folder = fileURLToPath(new URL('../../examples/node/', import.meta.url))
const SAYS = {
  'hello_agent.mjs': /Resuming a run reads the list again/,
  'custom_tool.mjs': /^With GST it is ₹1180\.\n$/,
  'streaming.mjs': /agent_started[\s\S]*message_sent[\s\S]*agent_completed[\s\S]*shows on the bus/,
  'budget.mjs':
    /^stopped: .* spent 0\.003600 USD.*\n(  has: What .*\n){2}complete: 4 calls, 0\.007200 USD\n(  .*: 1 call, 0\.001800 USD\n){4}$/,
  'scripted.mjs': /^asked 3 times: The basic plan costs ₹499\.\ngiven again: The basic plan costs ₹499\.\n$/,
  'council.mjs': /^# Plan the launch of raptorflow[\s\S]*## Sources/,
}

test('every example has its expectation', () => {
  const names = readdirSync(folder).filter((name) => name.endsWith('.mjs'))
  assert.deepEqual(names.sort(), Object.keys(SAYS).sort())
})

for (const [name, says] of Object.entries(SAYS)) {
  test(`${name} runs offline`, async ({ signal }) => {
    // Without keys and addresses from outside: an example must not need them.
    const env = { PATH: process.env.PATH }
    const { stdout } = await promisify(execFile)(process.execPath, [name], { cwd: folder, env, signal, timeout: 60_000 })
    assert.match(stdout, says)
  })
}

test('the council says in one line what is wrong', async () => {
  const failed = promisify(execFile)(process.execPath, ['council.mjs', 'no-such-folder'], { cwd: folder })
  await assert.rejects(failed, ({ code, stderr }) => code === 1 && /^error: rag\.load: .*no-such-folder.*\n$/.test(stderr))
})
