'use strict'

// Statements of this size stay far below the deadline.
const CHUNK = 10_000

// The buffer grows only while the database answers gets and refuses touches. Then further ones are dropped.
const MAX_PENDING = 1_000_000

// A buffer of touches, which holds each session once. It sends them together, one interval after the first.
class Touches {
  #send
  #milliseconds
  #errorLog
  #pending = new Map() // key to idle timeout
  #flushing = Promise.resolve()
  #timer

  constructor (send, seconds, errorLog) {
    this.#send = send
    this.#milliseconds = seconds * 1000
    this.#errorLog = errorLog
  }

  add (key, ttl) {
    if (this.#pending.size < MAX_PENDING || this.#pending.has(key)) this.#pending.set(key, ttl)
    // The process may end without waiting for the timer.
    this.#timer ??= setTimeout(() => this.flushOrLog(), this.#milliseconds).unref()
  }

  delete (key) {
    this.#pending.delete(key)
  }

  flushOrLog () {
    this.flush().catch(this.#errorLog)
  }

  // Sends the touches that wait. Flushes run one after the other, so what comes during one shares the next.
  flush () {
    this.#flushing = this.#flushing.catch(() => {}).then(() => this.#flushNow())
    return this.#flushing
  }

  async #flushNow () {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const sending = [...this.#pending]
    this.#pending.clear()
    while (sending.length > 0) {
      const chunk = sending.slice(0, CHUNK)
      try {
        await this.#send(chunk.map(([key]) => key), chunk.map(([, ttl]) => ttl))
      } catch (error) {
        for (const [key, ttl] of sending) {
          if (!this.#pending.has(key)) this.add(key, ttl)
        }
        throw error
      }
      sending.splice(0, CHUNK)
    }
  }
}

module.exports = Touches
