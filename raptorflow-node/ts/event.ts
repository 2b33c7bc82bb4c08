// What agents do, as it happens: events, subscriptions, the bus.

import { milliseconds, snake } from './data.js'
import { call, countOf, fromNative } from './error.js'
import { toJson } from './json.js'
import type { NativeEngine, NativeSubscription } from '../native.js'

/** What can happen; a host's own kinds are other words in snake case. */
export type EventKind =
  | 'agent_started'
  | 'agent_completed'
  | 'agent_failed'
  | 'capability_executed'
  | 'result_generated'
  | 'data_created'
  | 'data_updated'
  | 'data_deleted'
  | 'data_queried'
  | 'data_validated'
  | 'message_sent'
  | 'message_received'
  | 'notification_triggered'
  | 'broadcast_initiated'
  | 'response_delivered'
  | 'error_occurred'
  | 'warning_issued'
  | 'metric_recorded'
  | 'status_updated'
  | 'resource_allocated'
  | 'workflow_completed'
  | (string & {})

/** Where it is told; a host's own channels are other words in snake case. */
export type Channel =
  | 'agent_execution'
  | 'data_operations'
  | 'agent_communication'
  | 'system_events'
  | 'error_handling'
  | 'metrics'
  | 'workflows'
  | 'notifications'
  | 'analytics'
  | (string & {})

/** How it went. */
export type Status = 'success' | 'error' | 'warning'

/** One event. */
export interface Event {
  /** Its id; ids of one process sort by birth. */
  readonly id: string
  /** Its place in the bus's stream. */
  readonly sequence: number
  /** When it happened, RFC 3339 in UTC. */
  readonly time: string
  /** The tenant. */
  readonly tenant: string
  /** The run, where it belongs to one. */
  readonly run?: string
  /** The place inside the run, steps joined with `/`. */
  readonly path?: string
  /** What happened. */
  readonly kind: EventKind
  /** Where it is told. */
  readonly channel: Channel
  /** Where else it is told. */
  readonly also?: readonly Channel[]
  /** The agent it is about. */
  readonly agent?: string
  /** The agent's domain. */
  readonly domain?: string
  /** Who sent it, where it is a message. */
  readonly source?: string
  /** Whom it is for, where it is a message. */
  readonly targets?: readonly string[]
  /** How it went. */
  readonly status: Status
  /** How urgent it is. */
  readonly priority: 'low' | 'normal' | 'high' | 'critical'
  /** How long it took, in milliseconds. */
  readonly duration?: number
  /** Ties a reply to its request. */
  readonly correlation?: string
  /** The event that led to this one. */
  readonly causation?: string
  /** W3C trace context, where the host set one. */
  readonly traceparent?: string
  /** What there is to know; ids, counts and kinds, and content only where the host asked for it. */
  // Each kind has fields of its own.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly data?: any
  /** The host's own fields. */
  readonly metadata?: Readonly<Record<string, unknown>>
}

/**
 * What happens when a subscription is full: the oldest event makes room, the subscription ends with an error, or
 * publishing waits at most so many milliseconds and then the subscription ends with an error.
 */
export type Lag = 'drop_oldest' | 'fail' | { readonly block: number }

/** Which events. Every field narrows; an empty list or a missing field allows all. */
export interface EventFilter {
  readonly channels?: readonly Channel[]
  readonly kinds?: readonly EventKind[]
  /** Only this run. */
  readonly run?: string
  /** Only events about, from or to an agent whose name matches; `*` stands for any text. */
  readonly agents?: readonly string[]
  /** Only domains that match; `*` stands for any text. */
  readonly domains?: readonly string[]
  readonly status?: Status
  readonly tenant?: string
}

/** Which events, and how many of them may wait. */
export interface SubscribeOptions extends EventFilter {
  /** How many events may wait to be taken; 1,024 by default. */
  readonly capacity?: number
  /** What happens when it is full; `drop_oldest` by default. */
  readonly lag?: Lag
  /** Ends the subscription when aborted. */
  readonly signal?: AbortSignal
}

/** Which events of the history. */
export interface HistoryOptions extends EventFilter {
  /** Only events with a sequence of at least this; 0 by default. */
  readonly from?: number
  /** At most this many, the newest ones; all that are kept by default. */
  readonly limit?: number
}

/** Counts since the bus was made. */
export interface BusStats {
  readonly published: number
  readonly delivered: number
  /** Deliveries that a full subscription missed. */
  readonly dropped: number
  /** Subscriptions open now. */
  readonly subscriptions: number
  /** Events in the history now. */
  readonly retained: number
}

/** The bus of an engine, on which every agent's work shows. */
export class EventBus {
  readonly #engine: NativeEngine

  /** @internal */
  constructor(engine: NativeEngine) {
    this.#engine = engine
  }

  /**
   * Events from now on.
   *
   * Waiting for events does not keep the process alive.
   *
   * ```js
   * for await (const event of engine.bus.subscribe({ kinds: ['agent_completed'] })) console.log(event.agent)
   * ```
   */
  subscribe(options: SubscribeOptions = {}): Subscription {
    const { capacity = 1024, lag = 'drop_oldest', signal, ...filter } = options
    countOf('capacity', 1, capacity)
    const [filterText, lagText] = [toJson(snake(filter), 'options'), toJson(lag, 'lag')]
    const subscription = new Subscription()
    subscription.attach(call(() => this.#engine.subscribe(filterText, capacity, lagText, subscription.deliver)), false)
    if (signal?.aborted) subscription.close()
    else subscription.closeWith(signal)
    return subscription
  }

  /** Events that happened and are still kept, oldest first. */
  history(options: HistoryOptions = {}): Event[] {
    const { from = 0, limit = 0, ...filter } = options
    countOf('from', 0, from)
    countOf('limit', 0, limit)
    const text = toJson(snake(filter), 'options')
    const events = JSON.parse(call(() => this.#engine.events(text, from, limit))) as Event[]
    return events.map(readable)
  }

  /** Counts since the bus was made. */
  stats(): BusStats {
    return JSON.parse(call(() => this.#engine.busStats())) as BusStats
  }
}

/** Takes an error, or a batch as JSON text. */
type Deliver = (error: Error | null, batch: string) => void

interface Waiting {
  readonly resolve: (result: IteratorResult<Event, undefined>) => void
  readonly reject: (error: unknown) => void
}

/**
 * Subscriptions that somebody waits on.
 *
 * The native side knows a subscription only weakly, so that one that nobody uses any more can be collected; while
 * somebody waits, this is what keeps it.
 */
const waitedOn = new Set<Subscription>()

/** Events as they come, in order; an async iterator that takes them from the native side in batches. */
export class Subscription implements AsyncIterableIterator<Event, undefined> {
  /** @internal */
  readonly deliver: Deliver
  readonly #waiting: Waiting[] = []
  #native: NativeSubscription | undefined
  #events: Event[] = []
  #next = 0
  #pulling = false
  #failure: unknown
  #ended = false
  #missed = 0
  #holding = false
  #onEnd: (() => void) | undefined

  /** @internal */
  constructor() {
    const self = new WeakRef<Subscription>(this)
    this.deliver = (error, batch) => {
      const subscription = self.deref()
      if (subscription !== undefined) subscription.#delivered(error, batch)
    }
  }

  /**
   * The native half; `held` keeps the process alive for who waits.
   *
   * @internal
   */
  attach(native: NativeSubscription, held: boolean): void {
    this.#native = native
    this.#holding = held
  }

  /** How many events were missed so far because they were not taken in time. */
  get missed(): number {
    return this.#missed
  }

  /** The next event; `done` when the subscription has ended. */
  next(): Promise<IteratorResult<Event, undefined>> {
    if (this.#waiting.length === 0) {
      const value = this.#events[this.#next] ?? this.#take()
      if (value !== undefined) {
        this.#next += 1
        return Promise.resolve({ done: false, value })
      }
    }
    if (this.#ended) return this.#end()
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.#pull()
    })
  }

  /** Ends the subscription; who waits for an event is told at once. */
  return(): Promise<IteratorResult<Event, undefined>> {
    this.close()
    return Promise.resolve({ done: true, value: undefined })
  }

  /** Ends the subscription; who waits for an event is told at once. */
  close(): void {
    this.#events = []
    this.#next = 0
    this.#failure = undefined
    this.#finish()
    this.#native?.close()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** For `await using`, where the language has it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  /** @internal */
  closeWith(signal: AbortSignal | undefined): void {
    const close = (): void => this.close()
    signal?.addEventListener('abort', close, { once: true })
    this.#onEnd = () => signal?.removeEventListener('abort', close)
  }

  /** The first event of what is there now, without waiting for another thread. */
  #take(): Event | undefined {
    if (this.#pulling || this.#ended) return undefined
    try {
      const batch = this.#native?.take() ?? null
      if (batch !== null) this.#fill(batch)
    } catch (error) {
      this.#failure = fromNative(error)
      this.#finish()
    }
    return this.#events[this.#next]
  }

  #pull(): void {
    if (this.#pulling) return
    this.#pulling = true
    waitedOn.add(this)
    if (!this.#holding) {
      this.#native?.pull()
      return
    }
    this.#native?.wait().then(
      (batch) => this.#delivered(null, batch),
      (error: Error) => this.#delivered(error, ''),
    )
  }

  #delivered(error: Error | null, batch: string): void {
    this.#pulling = false
    waitedOn.delete(this)
    if (this.#ended) return
    if (error !== null) {
      this.#failure = fromNative(error)
      this.#finish()
    } else if (this.#fill(batch)) {
      this.#hand()
    } else {
      this.#finish()
    }
  }

  /** Takes a batch in; false when it is the end. */
  #fill(batch: string): boolean {
    const { events, missed } = JSON.parse(batch) as { events: Event[]; missed: number }
    this.#missed += missed
    this.#events = events.map(readable)
    this.#next = 0
    return events.length > 0 || missed > 0
  }

  #hand(): void {
    while (this.#waiting.length > 0 && this.#next < this.#events.length) {
      const value = this.#events[this.#next++] as Event
      this.#waiting.shift()?.resolve({ done: false, value })
    }
    if (this.#waiting.length > 0) this.#pull()
  }

  #finish(): void {
    this.#ended = true
    this.#onEnd?.()
    for (const { resolve, reject } of this.#waiting.splice(0)) this.#end().then(resolve, reject)
  }

  /** The failure once, then the end. */
  #end(): Promise<IteratorResult<Event, undefined>> {
    const failure = this.#failure
    this.#failure = undefined
    return failure === undefined ? Promise.resolve({ done: true, value: undefined }) : Promise.reject(failure)
  }
}

type Spanned = Event & { duration?: number | { secs: number; nanos: number } }

function readable(event: Event): Event {
  const { duration } = event as Spanned
  if (typeof duration !== 'object') return event
  return { ...event, duration: milliseconds(duration) }
}
