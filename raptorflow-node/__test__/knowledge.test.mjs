// Knowledge bases and embedders: documents and vectors in, hits and cited contexts out.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'

import { Agent, embedders, Engine, KnowledgeBase, loadFolder, RaptorflowError, Rerank } from 'raptorflow'

const folder = mkdtempSync(join(tmpdir(), 'raptorflow-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const documents = [
  { id: 'plans', text: '# Plans\n\nThe basic plan costs ₹499 a month.', metadata: { lang: 'en' }, title: 'Plans' },
  { id: 'refunds', text: '# Refunds\n\nMoney goes back within seven days.', metadata: { lang: 'hi' }, source: 'docs/refunds.md' },
]

const open = (embedder = embedders.hashing()) => KnowledgeBase.open('memory:', { embedder })

test('documents are added, found, cited, read and removed', async () => {
  const kb = await open()
  assert.deepEqual(await kb.add(documents), { added: 2, updated: 0, unchanged: 0, removed: 0, chunks: 2, skipped: [] })
  assert.equal((await kb.add(documents)).unchanged, 2)
  assert.deepEqual([kb.size, kb.ids], [2, ['plans', 'refunds']])
  const [hit] = await kb.search('basic plan', { k: 1 })
  assert.deepEqual([hit.document, hit.lines, hit.metadata], ['plans', [1, 3], { lang: 'en' }])
  assert.deepEqual((await kb.search('days', { filter: { lang: ['en', 'fr'] } })), [])
  const context = await kb.context('money back', { maxTokens: 100 })
  assert.match(context.text, /^\[1\] docs\/refunds\.md:1-3/)
  assert.equal(context.citations[0].document, 'refunds')
  assert.deepEqual(kb.get('plans'), documents[0])
  assert.equal(kb.get('nothing'), undefined)
  assert.deepEqual([await kb.delete('plans'), await kb.delete('plans'), kb.size], [true, false, 1])
})

test('what is no document is refused by name', async () => {
  const kb = await open()
  await assert.rejects(kb.add([{ id: 'x' }]), { code: 'invalid_input', message: /missing field `text`/ })
  await assert.rejects(kb.search('x', { moed: 'dense' }), { code: 'invalid_input', message: /unknown field `moed`/ })
  await assert.rejects(KnowledgeBase.open('memory:', {}), { code: 'invalid_input', message: /embedder/ })
  const { skipped, added } = await kb.add([{ id: '', text: 'x' }, documents[0]])
  assert.deepEqual([skipped.length, added], [1, 1])
})

test('vectors of the host are searched and given back', async () => {
  const axes = { north: [1, 0], east: [0, 1] }
  const asked = []
  const embedder = embedders.function({
    name: 'axes',
    dimension: 2,
    embed: (texts, { purpose, signal }) => {
      asked.push([purpose, texts, signal.aborted])
      return texts.map((text) => axes[text] ?? [0.5, 0.5])
    },
  })
  const kb = await open(embedder)
  const vector = Float32Array.of(0, 1)
  await kb.add([{ id: 'a', text: 'north' }, { id: 'b', text: 'somewhere', vector }])
  const [hit] = await kb.search('east', { mode: 'dense', k: 1 })
  assert.equal(hit.id, 'b#0')
  assert.deepEqual(kb.get('b').vector, vector)
  assert.deepEqual(asked.map(([purpose]) => purpose), ['document', 'query'])
})

test('an embedder that gives other vectors than it promised is told so', async () => {
  const cases = [
    [() => [], /one vector per text/],
    [() => 'no', /array of vectors/],
    [() => [[1, 2, 3]], /another dimension/],
    [() => [[NaN, 1]], /unusable vector/],
    [async () => [Float32Array.of(0, 0)], /unusable vector/],
  ]
  for (const [embed, says] of cases) {
    const kb = await open(embedders.function({ name: 'odd', dimension: 2, embed }))
    await assert.rejects(kb.add([{ id: 'x', text: 'x' }]), { code: 'invalid_output', message: says })
  }
  const thrown = new Error('no network')
  const kb = await open(embedders.function({ name: 'odd', dimension: 2, embed: () => Promise.reject(thrown) }))
  await assert.rejects(kb.add([{ id: 'x', text: 'x' }]), { code: 'callback', cause: thrown })
  for (const options of [{ name: '', dimension: 2 }, { name: 'x', dimension: 0 }, { name: 'x', dimension: 2, embed: 1 }]) {
    assert.throws(() => embedders.function({ embed: () => [], ...options }), { code: 'invalid_input' })
  }
})

test('a stored knowledge base is opened again, and not with another embedder', async () => {
  const address = `sqlite:${join(folder, 'kb.db')}`
  const kb = await KnowledgeBase.open(address, { embedder: embedders.hashing(64) })
  await kb.add(documents)
  const again = await KnowledgeBase.open(address, { embedder: embedders.hashing(64) })
  assert.deepEqual(again.get('plans'), documents[0])
  await assert.rejects(KnowledgeBase.open(address, { embedder: embedders.hashing(32) }), { code: 'invalid_input' })
})

test('a folder is loaded, and what is left out is said', async () => {
  const notes = join(folder, 'notes')
  mkdirSync(notes)
  writeFileSync(join(notes, 'a.md'), '# A\n\nalpha')
  writeFileSync(join(notes, 'b.txt'), Buffer.from([0x66, 0xff, 0xfe]))
  const { documents, diagnostics } = await loadFolder(notes)
  assert.deepEqual(documents.map(({ id, title }) => [id, title]), [['a.md', 'A']])
  assert.equal(diagnostics[0].file, 'b.txt')
  await assert.rejects(loadFolder(join(folder, 'nothing')), { code: 'not_found' })
})

test('an agent with retrieval is given passages with their place', async () => {
  const kb = await open()
  await kb.add(documents)
  const engine = new Engine(undefined, { defaultModel: 'offline:extractive' })
  engine.useKnowledge(kb)
  engine.register(new Agent({ name: 'reader', retrieval: { maxTokens: 20 } }))
  const { passages, output } = await engine.run('reader', 'What does the basic plan cost?')
  assert.deepEqual(passages.map(({ number, source, lines }) => [number, source, lines]), [[1, 'plans', [1, 3]]])
  assert.match(output, /499/)
})

/** A host of OpenAI's and Ollama's wire, where a text that names a dog points elsewhere than others. */
async function embeddings() {
  const server = createServer(async (request, response) => {
    const chunks = await request.toArray()
    const { input } = JSON.parse(Buffer.concat(chunks).toString())
    const vectors = input.map((text) => (text.includes('og') ? [0, 1] : [1, 0]))
    const data = vectors.map((embedding) => ({ embedding }))
    response.setHeader('content-type', 'application/json')
    response.end(
      JSON.stringify(
        request.url === '/v1/embeddings'
          ? { data, usage: { prompt_tokens: input.length } }
          : { embeddings: vectors, prompt_eval_count: input.length },
      ),
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

test('a remote model embeds and counts its tokens', async () => {
  const server = await embeddings()
  try {
    for (const make of [embedders.openai, embedders.ollama]) {
      const embedder = make('own', { dimension: 2, baseUrl: `http://127.0.0.1:${server.address().port}/v1` })
      const kb = await open(embedder)
      await kb.add([
        { id: 'cats', text: 'Cats purr.' },
        { id: 'dogs', text: 'Dogs bark.' },
      ])
      const [hit] = await kb.search('Which dog?', { k: 1, mode: 'dense' })
      assert.equal(hit.document, 'dogs')
      assert.deepEqual(embedder.usage, { inputTokens: 3, outputTokens: 0, cachedTokens: 0, reasoningTokens: 0 })
    }
  } finally {
    server.closeAllConnections()
    server.close()
  }
})

test('embedders have names', async () => {
  delete process.env.OPENAI_API_KEY
  assert.equal((await open('hashing:64')).size, 0)
  await assert.rejects(open('opnai:x'), { code: 'not_found', context: { embedder: 'opnai:x', registered: 'gemini, hashing, minilm, minilm-int8, ollama, openai' } })
  await assert.rejects(open('openai:text-embedding-3-small'), { code: 'unauthenticated' })
  assert.throws(() => embedders.ollama('own'), { code: 'invalid_input' })
  assert.equal(embedders.ollama('nomic-embed-text').dimension, 768)
})

test('a function reranks what was found', async () => {
  const asked = []
  const laterIsBetter = (query, documents) => {
    asked.push([query, documents.length])
    return documents.map((_, place) => place)
  }
  const kb = await KnowledgeBase.open('memory:', { embedder: embedders.hashing(), rerank: new Rerank(laterIsBetter, { candidates: 4 }) })
  await kb.add([1, 2, 3].map((each) => ({ id: `${each}.md`, text: 'tides '.repeat(each) + 'and more' })))
  const plain = (await kb.search('tides', { rerank: false })).map(({ document }) => document)
  const hits = await kb.search('tides')
  assert.deepEqual(hits.map(({ document }) => document), plain.reverse())
  assert.deepEqual([hits[0].score, hits[0].parts.rerank], [2, 2])
  assert.deepEqual(asked, [['tides', 3]])
})

test('a reranker that fails keeps the order where that is wanted', async () => {
  const found = async (rerank) => {
    const kb = await KnowledgeBase.open('memory:', { embedder: embedders.hashing(), rerank })
    await kb.add([1, 2].map((each) => ({ id: `${each}.md`, text: 'tides and more' })))
    return kb.search('tides')
  }
  const broken = async () => {
    throw new RaptorflowError('unavailable', 'down')
  }
  assert.equal((await found(new Rerank(broken, { onFailure: 'keep_order' }))).length, 2)
  const short = found(new Rerank(() => [1], { name: 'test:short' }))
  await assert.rejects(short, ({ code, context }) => code === 'invalid_output' && context.reranker === 'test:short')
})

test('a reranker of a provider needs its key', () => {
  delete process.env.COHERE_API_KEY
  assert.throws(() => new Rerank('cohere:rerank-v3.5'), { code: 'unauthenticated' })
  assert.throws(() => new Rerank('cohre:rerank-v3.5'), { code: 'not_found' })
  process.env.COHERE_API_KEY = 'a key'
  new Rerank('cohere:rerank-v3.5', { baseUrl: 'http://localhost:9/v2', timeout: 2500 })
  delete process.env.COHERE_API_KEY
})
