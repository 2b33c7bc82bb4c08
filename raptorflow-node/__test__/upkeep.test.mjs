// The upkeep of what is stored: pruning and removing runs, and tenants and stores as files.

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { pathToFileURL } from 'node:url'

import { agent, Engine, RaptorflowError } from 'raptorflow'

const folder = mkdtempSync(join(tmpdir(), 'raptorflow-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const file = (name) => join(folder, name)

function open() {
  const engine = new Engine()
  engine.register(agent({ name: 'it', execute: (input) => input }))
  return engine
}

const ids = async (engine) => (await engine.runs()).runs.map(({ runId }) => runId)

async function refused(work, code) {
  await assert.rejects(work, (error) => RaptorflowError.isInstance(error) && error.code === code)
}

test('ended runs go by a policy, which must have a condition', async () => {
  const engine = open()
  for (const word of ['one', 'two', 'three']) await engine.run('it', word)
  const [, , last] = await ids(engine)
  assert.deepEqual(await engine.prune({ maxAge: 60_000 }), { removed: 0, kept: 3, unreadable: 0 })
  assert.deepEqual(await engine.prune({ keepLast: 1 }), { removed: 2, kept: 1, unreadable: 0 })
  assert.deepEqual(await ids(engine), [last])
  for (const wrong of [{}, { maxAge: -1 }, { keepLast: 1.5 }, { age: 1 }]) await refused(() => engine.prune(wrong), 'invalid_input')
})

test('a run is removed by its id', async () => {
  const engine = open()
  const { runId } = await engine.run('it', 'one')
  await engine.remove(runId)
  assert.deepEqual(await ids(engine), [])
  await refused(() => engine.remove(runId), 'not_found')
  await refused(() => engine.state(runId), 'not_found')
})

test('a tenant is exported, imported as another and erased', async () => {
  const engine = open()
  const { runId } = await engine.run('it', 'one', { tenant: 'acme' })
  assert.deepEqual(await ids(engine), [])
  const written = await engine.exportTenant('acme', file('acme.jsonl'))
  assert.deepEqual([written.tenants, written.streams, typeof written.digest], [1, 1, 'string'])
  const other = open()
  assert.deepEqual(await other.importTenant('acme-2', pathToFileURL(file('acme.jsonl'))), written)
  await refused(() => other.importTenant('acme-2', file('acme.jsonl')), 'conflict')
  const moved = other.forTenant('acme-2')
  assert.deepEqual(await ids(moved), [runId])
  assert.equal((await moved.resume(runId)).output, 'one')
  const { streams } = await other.eraseTenant('acme-2')
  assert.equal(streams, 1)
  assert.deepEqual(await ids(moved), [])
  await refused(() => engine.exportTenant('', file('none.jsonl')), 'invalid_input')
  await refused(async () => engine.forTenant(''), 'invalid_input')
})

test('a store is restored from its snapshot, and a damaged one is refused', async () => {
  const engine = open()
  const { runId } = await engine.run('it', 'one')
  await engine.run('it', 'two', { tenant: 'acme' })
  const written = await engine.snapshot(file('all.jsonl'))
  assert.equal(written.tenants, 2)
  const other = open()
  assert.equal((await other.restore(file('all.jsonl'))).digest, written.digest)
  assert.equal((await other.resume(runId)).output, 'one')
  await refused(() => other.restore(file('all.jsonl')), 'conflict')
  writeFileSync(file('cut.jsonl'), readFileSync(file('all.jsonl'), 'utf8').slice(0, -20))
  await refused(() => open().restore(file('cut.jsonl')), 'corrupt')
  await refused(() => open().restore(file('nowhere.jsonl')), 'not_found')
})
