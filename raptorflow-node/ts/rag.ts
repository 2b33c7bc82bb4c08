// Knowledge bases and embedders.

import { callback, type CallContext } from './callback.js'
import { camel, snake } from './data.js'
import { call, countOf, type Diagnostic, functionOf, halfOf, RaptorflowError, settle } from './error.js'
import { type Json, toJson } from './json.js'
import type { Passage, Usage } from './model.js'
import { Callback, EmbedCallback, NativeEmbedder, NativeKnowledgeBase, NativeRerank } from '../native.js'

/** A text that a knowledge base keeps. */
export interface Document {
  /** What names it; adding another document of this id replaces it. 1 to 512 bytes. */
  readonly id: string
  /** The text, Markdown unless `source` ends in `.txt`. */
  readonly text: string
  /** What it is called; searched together with the text. */
  readonly title?: string
  /** What it is, by a name of the host's choice. */
  readonly kind?: string
  /** Where it comes from, for citations: a path or URL; the id by default. */
  readonly source?: string
  /** The host's own fields; searches filter by them. */
  readonly metadata?: Readonly<Record<string, Json>>
  /** A vector that the host computed, of the embedder's dimension; such a document stays one chunk. */
  readonly vector?: Float32Array
}

/** Which indexes a search asks: vectors, words, or both. */
export type Mode = 'dense' | 'lexical' | 'graph' | 'hybrid'

/** What a search may return: fields of the metadata with the value, or a list of values, that they must have. */
export type Filter = Readonly<Record<string, Json>>

/** What a search may say besides the query. */
export interface SearchOptions {
  /** At most this many hits; 10 by default. */
  readonly k?: number
  /** Which indexes to ask; `hybrid` by default with a semantic embedder, else `graph`. */
  readonly mode?: Mode
  /** Only documents that this allows. */
  readonly filter?: Filter
  /** Whether the step that the knowledge base was opened with is taken; it is by default. */
  readonly rerank?: boolean
}

/** What a context may say besides the query. */
export interface ContextOptions extends SearchOptions {
  /** About how many tokens it may have; 2,000 by default. */
  readonly maxTokens?: number
}

/** A chunk that was found. */
export interface Hit {
  /** The chunk's id: the document's id, `#` and the place in it from 0. */
  readonly id: string
  /** How well it fits; comparable within one search only. */
  readonly score: number
  /** What the score is made of. */
  readonly parts: {
    readonly dense: number | null
    readonly lexical: number | null
    readonly graph?: number
    readonly rerank?: number
  }
  /** The text, exactly as in the document. */
  readonly text: string
  /** The document's id. */
  readonly document: string
  /** Where the document comes from. */
  readonly source: string
  /** First and last line in the document, from 1, both included. */
  readonly lines: readonly [number, number]
  /** The bytes of the document's text in UTF-8; the end is not included. */
  readonly bytes: { readonly start: number; readonly end: number }
  /** Headings above it, outermost first, joined with ` > `. */
  readonly heading: string
  /** The document's metadata. */
  readonly metadata: Readonly<Record<string, Json>>
}

/** Where one passage of a context stands. */
export interface Citation {
  /** The number that stands before the passage and that answers cite, from 1. */
  readonly number: number
  readonly document: string
  readonly source: string
  readonly lines: readonly [number, number]
  readonly bytes: { readonly start: number; readonly end: number }
  readonly heading: string
  readonly score: number
}

/** Text for a model with the places it comes from. */
export interface CitedContext {
  /** The passages, each below a line `[number] source:first-last (heading)`. */
  readonly text: string
  /** One for each passage, in the order of the text. */
  readonly citations: readonly Citation[]
  readonly passages: readonly Passage[]
  /** About how many tokens `text` has. */
  readonly tokens: number
}

/** What adding documents did. */
export interface IngestReport {
  readonly added: number
  readonly updated: number
  readonly unchanged: number
  readonly removed: number
  /** Chunks of the added and updated documents. */
  readonly chunks: number
  /** One for each document that cannot be used, with the id in place of the file. */
  readonly skipped: readonly Diagnostic[]
}

/** Texts to embed, and what for: to be kept, or to search with. */
export interface EmbedContext extends CallContext {
  readonly purpose: 'document' | 'query'
}

/** An embedder that is a function. */
export interface FunctionEmbedderOptions {
  /** Names the model and its settings; another name means other vectors. */
  readonly name: string
  /** How many numbers a vector has. */
  readonly dimension: number
  /** Whether texts of one meaning in different words are near each other; true by default. */
  readonly semantic?: boolean
  /** Gives one vector per text, in order; it may be async. */
  readonly embed: (
    texts: readonly string[],
    ctx: EmbedContext,
  ) => readonly Vector[] | PromiseLike<readonly Vector[]>
}

/** What may be said of an embedding model besides its name. */
export interface RemoteEmbedderOptions {
  /**
   * How many numbers a vector has; needed for a model that is not known.
   * A known one gives shorter vectors when this says so.
   */
  readonly dimension?: number
  /** Asks a model that is not known for vectors of this dimension too. */
  readonly shorten?: boolean
  /** Where another host's API begins, like `http://localhost:8000/v1`. */
  readonly baseUrl?: string
}

/** How the best candidates of a search are read again. */
export interface RerankOptions {
  /** What a function is called in errors; its own name by default. */
  readonly name?: string
  /** How many of the best are read again; 50 by default. */
  readonly candidates?: number
  /** About how many tokens they have together at most; 30,000 by default. */
  readonly maxTokens?: number
  /** How long it may take in milliseconds, all tries together; 10,000 by default. */
  readonly timeout?: number
  /** What happens when it fails: the search fails, or the order stays and a warning on the bus says so. */
  readonly onFailure?: 'fail' | 'keep_order'
  /** Where another host's API begins. */
  readonly baseUrl?: string
}

/** A reranker that is a function: a score for each document, the higher, the better; it may be async. */
export type RerankFunction = (
  query: string,
  documents: readonly string[],
  ctx: CallContext,
) => readonly number[] | PromiseLike<readonly number[]>

/** The numbers of one text. */
export type Vector = Float32Array | readonly number[]

const nativeEmbedders = new WeakMap<object, NativeEmbedder>()
const nativeKnowledgeBases = new WeakMap<object, NativeKnowledgeBase>()

/** Turns text into vectors; `embedders` has those that there are. */
export class Embedder {
  /** How many numbers a vector has. */
  readonly dimension: number

  /** @internal */
  constructor(native: NativeEmbedder) {
    this.dimension = native.dimension
    nativeEmbedders.set(this, native)
  }

  /** The tokens that a model has read so far, as far as it tells. */
  get usage(): Usage {
    const native = halfOf(nativeEmbedders, 'embedder', 'one of `embedders`', this)
    return camel<Usage>(JSON.parse(call(() => native.usage)) as object)
  }
}

function remote(provider: string, model: string, options: RemoteEmbedderOptions): Embedder {
  const { dimension, shorten = false, baseUrl } = options
  if (dimension !== undefined) countOf('dimension', 1, dimension)
  return new Embedder(call(() => NativeEmbedder.named(provider, model, baseUrl, dimension, shorten)))
}

/**
 * A step of a search: the best candidates are read again by a reranker, whose order counts.
 *
 * The reranker is a model of `cohere`, `jina` or `voyage`, whose key is in `COHERE_API_KEY` and so on, or a function.
 *
 * ```js
 * const rerank = new Rerank('cohere:rerank-v3.5', { candidates: 30 })
 * const kb = await KnowledgeBase.open('memory:', { embedder: embedders.hashing(), rerank })
 * ```
 */
export class Rerank {
  constructor(reranker: string | RerankFunction, options: RerankOptions = {}) {
    const { name, timeout, baseUrl, ...rest } = options
    const pause = timeout === undefined ? {} : { timeout_seconds: timeout / 1000 }
    const settings = (model: string): string => toJson({ ...snake(rest), ...pause, model }, 'rerank')
    nativeReranks.set(this, typeof reranker === 'string' ? named(reranker) : ofFunction(reranker))

    function named(model: string): NativeRerank {
      return call(() => NativeRerank.named(settings(model), baseUrl))
    }

    function ofFunction(score: RerankFunction): NativeRerank {
      functionOf('reranker', score)
      interface Asked {
        readonly query: string
        readonly documents: readonly string[]
      }
      const invoke = ({ query, documents }: Asked, ctx: CallContext): unknown => score(query, documents, ctx)
      const encode = (value: unknown): string => toJson(value, 'scores', 'invalid_output')
      const body = new Callback(callback('rerank.function', invoke, encode))
      return call(() => NativeRerank.ofFunction(settings(name ?? (score.name || 'function')), body))
    }
  }
}

const nativeReranks = new WeakMap<object, NativeRerank>()

/** The native half of an embedder that a user gave. */
export function nativeEmbedder(embedder: Embedder): NativeEmbedder {
  return halfOf(nativeEmbedders, 'embedder', 'one of `embedders`', embedder)
}

/** The embedders that there are. */
export const embedders = Object.freeze({
  /**
   * Vectors without a model: hashed word stems and their character 3-grams and 4-grams.
   *
   * They find copies, misspellings and inflections, and know nothing of meaning.
   */
  hashing(dimension = 384): Embedder {
    return new Embedder(call(() => NativeEmbedder.hashing(countOf('dimension', 1, dimension))))
  },

  /** A model of OpenAI or of a compatible host, like `text-embedding-3-small`; the key is in `OPENAI_API_KEY`. */
  openai(model: string, options: RemoteEmbedderOptions = {}): Embedder {
    return remote('openai', model, options)
  },

  /** A model of Ollama, like `nomic-embed-text`, on this machine or at `baseUrl`. */
  ollama(model: string, options: RemoteEmbedderOptions = {}): Embedder {
    return remote('ollama', model, options)
  },

  /** A model of the Gemini API, like `gemini-embedding-001`; the key is in `GEMINI_API_KEY`. */
  gemini(model: string, options: RemoteEmbedderOptions = {}): Embedder {
    return remote('gemini', model, options)
  },

  /**
   * A sentence encoder of the BERT family that runs on this machine, such as all-MiniLM-L6-v2.
   *
   * The folder has `model.safetensors` and `tokenizer.json`; `int8` keeps the weights in 8 bits, which is faster with
   * nearly the same vectors.
   */
  minilm(folder: string, options: { int8?: boolean } = {}): Embedder {
    return remote(options.int8 === true ? 'minilm-int8' : 'minilm', folder, {})
  },

  /** Vectors from a function, for example one that asks a model. */
  function(options: FunctionEmbedderOptions): Embedder {
    const { name, dimension, semantic = true, embed } = options
    functionOf('embed', embed)
    countOf('dimension', 1, dimension)
    interface Asked {
      readonly texts: readonly string[]
      readonly purpose: 'document' | 'query'
    }
    const invoke = ({ texts, purpose }: Asked, ctx: CallContext): unknown => {
      const given = embed(texts, Object.defineProperty(ctx, 'purpose', { value: purpose }) as EmbedContext)
      const check = (vectors: readonly Vector[]): Float32Array => joined(vectors, texts.length, dimension, name)
      return Array.isArray(given) ? check(given) : Promise.resolve(given as PromiseLike<readonly Vector[]>).then(check)
    }
    const body = callback('embedder.embed', invoke, (value) => value as Float32Array)
    return new Embedder(call(() => NativeEmbedder.ofFunction(name, dimension, semantic, new EmbedCallback(body))))
  },
})

/** One vector behind the other, after a look at how many and how long they are. */
function joined(vectors: readonly Vector[], texts: number, dimension: number, embedder: string): Float32Array {
  const refuse = (message: string, context: Record<string, string>): never => {
    const options = { operation: 'embedder.embed', context: { embedder, ...context } }
    throw new RaptorflowError('invalid_output', message, options)
  }
  if (!Array.isArray(vectors)) refuse('expected an array of vectors', { got: typeof vectors })
  if (vectors.length !== texts) {
    refuse('the embedder did not give one vector per text', { expected: String(texts), got: String(vectors.length) })
  }
  const all = new Float32Array(texts * dimension)
  vectors.forEach((vector, index) => {
    if (vector.length !== dimension) {
      const context = { index: String(index), expected: String(dimension), got: String(vector.length) }
      refuse('the embedder gave a vector of another dimension', context)
    }
    all.set(vector, index * dimension)
  })
  return all
}

/**
 * Documents that are searched and cited.
 *
 * ```js
 * const kb = await KnowledgeBase.open('memory:', { embedder: embedders.hashing() })
 * await kb.add([{ id: 'plans', text: '# Plans\n\nThe basic plan costs ₹499 a month.' }])
 * const [hit] = await kb.search('how much is the basic plan?', { k: 1 })
 * ```
 */
export class KnowledgeBase {
  readonly #native: NativeKnowledgeBase

  private constructor(native: NativeKnowledgeBase) {
    this.#native = native
    nativeKnowledgeBases.set(this, native)
  }

  /**
   * Opens the one in a store, `memory:`, `sqlite:path` or `postgres://…`; its indexes are rebuilt from what is stored.
   *
   * The embedder is one of `embedders`, or a name like `openai:text-embedding-3-small` or `hashing:384`; a model that
   * is not known is then asked for the size of its vectors. With `rerank` the best candidates of every search and
   * context are read again.
   */
  static async open(
    address: string,
    options: { readonly embedder: Embedder | string; readonly rerank?: Rerank },
  ): Promise<KnowledgeBase> {
    const given = options?.embedder
    const embedder =
      typeof given === 'string'
        ? await settle(() => NativeEmbedder.open(given))
        : halfOf(nativeEmbedders, 'embedder', 'one of `embedders`, or a name', given)
    const rerank = options.rerank && halfOf(nativeReranks, 'rerank', 'a `Rerank`', options.rerank)
    return new KnowledgeBase(await settle(() => NativeKnowledgeBase.open(address, embedder, rerank)))
  }

  /** How many documents it has. */
  get size(): number {
    return this.#native.size
  }

  /** The ids of all documents, in order. */
  get ids(): readonly string[] {
    return this.#native.ids()
  }

  /** Adds documents; one of an id that exists replaces it, and one that did not change costs nothing. */
  async add(documents: Iterable<Document>): Promise<IngestReport> {
    const vectors: (Float32Array | undefined)[] = []
    const data = Array.from(documents, ({ vector, ...rest }) => {
      vectors.push(vector)
      return rest
    })
    const text = toJson(data, 'documents')
    return JSON.parse(await settle(() => this.#native.add(text, vectors))) as IngestReport
  }

  /** The chunks that fit a query best. */
  async search(query: string, options: SearchOptions = {}): Promise<Hit[]> {
    const text = toJson(snake({ ...options, query }), 'search')
    return JSON.parse(await settle(() => this.#native.search(text))) as Hit[]
  }

  /** The best passages for a query within a number of tokens, with citations; empty when nothing fits. */
  async context(query: string, options: ContextOptions = {}): Promise<CitedContext> {
    const text = toJson(snake({ ...options, query }), 'context')
    return JSON.parse(await settle(() => this.#native.context(text))) as CitedContext
  }

  /** Removes a document and says whether there was one. */
  delete(id: string): Promise<boolean> {
    return settle(() => this.#native.delete(id))
  }

  /** The document of an id, if there is one; a vector of the host's own is a `Float32Array`. */
  get(id: string): Document | undefined {
    const text = call(() => this.#native.get(id))
    if (text === null) return undefined
    const { vector, ...document } = camel<Omit<Document, 'vector'> & { vector?: number[] }>(JSON.parse(text) as object)
    return vector === undefined ? document : { ...document, vector: Float32Array.from(vector) }
  }
}

/** The native half of a knowledge base. */
export function nativeKnowledgeBase(kb: KnowledgeBase): NativeKnowledgeBase {
  return halfOf(nativeKnowledgeBases, 'knowledge', 'a `KnowledgeBase`', kb)
}

/** Reads the Markdown and text files of a folder, and says which were left out and why. */
export async function loadFolder(
  folder: string,
): Promise<{ readonly documents: readonly Document[]; readonly diagnostics: readonly Diagnostic[] }> {
  return JSON.parse(await settle(() => NativeKnowledgeBase.loadFolder(folder))) as {
    documents: Document[]
    diagnostics: Diagnostic[]
  }
}
