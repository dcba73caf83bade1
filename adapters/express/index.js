'use strict'

const { createHash } = require('node:crypto')
const { Store } = require('express-session')
const Database = require('./database')
const Touches = require('./touches')

// Browsers keep a cookie for 400 days at most.
const LONGEST = 10 * 365 * 86_400

// A timer takes 31 bits of milliseconds, and the reaper's waits a tenth longer at times.
const MAX_TIMER = 1_900_000

// A call of the reaper takes milliseconds. The loop calls again while there is work.
const REAP = 'SELECT reaped, lap_done FROM sessionsql.cache_reap()'

// Each function of the bundle takes arrays.
const GET = 'SELECT value, expires_in FROM sessionsql.cache_get_batch(ARRAY[$1::uuid])'
const SET = `SELECT FROM sessionsql.cache_set_batch(ARRAY[$1::uuid], ARRAY[$2::integer], ARRAY[$3::bytea],
  ARRAY[$4::float8], ARRAY[$5::bytea], ARRAY[$6::float8])`
const TOUCH = 'SELECT sessionsql.cache_touch_batch($1::uuid[], $2::float8[])'
const DESTROY = 'SELECT FROM sessionsql.cache_delete_batch(ARRAY[$1::uuid], true)'
const LIST = `SELECT key, plain_key, value, expires_in
  FROM sessionsql.cache_list($1::integer, $2::uuid, 1000)`
const LENGTH = 'SELECT sessionsql.cache_len($1::integer) AS length'
const CLEAR = 'SELECT sessionsql.cache_clear($1::integer, true)'

class PostgresStore extends Store {
  #database
  #space
  #near
  #spaceBytes
  #ttl
  #touchInterval
  #keepIDs
  #errorLog
  #touches
  #closed = false

  constructor (options) {
    super()
    const {
      pool, space = 'express-session', ttl = 86_400, touchInterval = 30, reapInterval = 60, timeout = 5,
      keepIDs = false, errorLog = error => console.error(error.message), ...unknown
    } = options ?? {}
    for (const name in unknown) throw new TypeError(`sessionsql: there is no option ${name}`)
    if (typeof pool?.connect !== 'function') throw new TypeError('sessionsql: pool must be a Pool of pg')
    if (typeof space !== 'string' || !space || Buffer.byteLength(space) > 63) {
      throw new TypeError('sessionsql: space must be a text of 1 to 63 bytes')
    }
    checkSeconds('ttl', ttl, LONGEST)
    checkSeconds('touchInterval', touchInterval, MAX_TIMER)
    checkSeconds('timeout', timeout, MAX_TIMER)
    if (reapInterval !== false) checkSeconds('reapInterval', reapInterval, MAX_TIMER)

    this.#database = new Database(pool, timeout)
    this.#spaceBytes = sha256(space).subarray(0, 4)
    this.#space = this.#spaceBytes.readInt32BE()
    this.#near = space.startsWith('near:')
    this.#ttl = ttl
    this.#touchInterval = touchInterval
    this.#keepIDs = keepIDs
    this.#errorLog = errorLog
    const sendTouches = (keys, ttls) => this.#database.rows('touch', TOUCH, keys, ttls)
    this.#touches = new Touches(sendTouches, touchInterval, errorLog)
    if (reapInterval) this.#reapEvery(reapInterval * 1000)
  }

  get (sid, callback) {
    this.#answer(callback, async () => {
      const key = this.#key(sid)
      const [row] = await this.#database.rows('get', GET, key)
      if (!row) return null
      const session = decode(row)
      const { originalMaxAge } = session.cookie
      const ttl = originalMaxAge == null ? this.#ttl : Math.min(originalMaxAge / 1000, LONGEST)
      // The flush that sends this request's own touch may come too late.
      if (row.expires_in < Math.min(ttl, 2 * this.#touchInterval)) {
        this.#touches.add(key, ttl)
        this.#touches.flushOrLog()
      }
      return session
    })
  }

  set (sid, session, callback) {
    this.#answer(callback, async () => {
      const key = this.#key(sid)
      const ttl = this.#ttlOf(session)
      if (ttl <= 0) return this.#end(key)
      this.#touches.delete(key) // its idle timeout is older than the session's
      // As with a touch, the expiry is the idle timeout and a third, so that a session saved without a change
      // (resave: true) is not written again until less than the idle timeout is left.
      const id = this.#keepIDs ? Buffer.from(sid) : null
      // The database refuses to bring a destroyed session back, which is no error of this request.
      await this.#database.rows('set', SET, key, this.#space, encode(session), ttl * 4 / 3, id, ttl / 3)
    })
  }

  touch (sid, session, callback) {
    this.#answer(callback, async () => {
      const key = this.#key(sid)
      const ttl = this.#ttlOf(session)
      if (ttl <= 0) return this.#end(key)
      this.#touches.add(key, ttl)
    })
  }

  destroy (sid, callback) {
    this.#answer(callback, async () => this.#end(this.#key(sid)))
  }

  all (callback) {
    this.#answer(callback, async () => {
      if (!this.#keepIDs) throw new TypeError('sessionsql: all needs the option keepIDs')
      const sessions = []
      for (let after = null; ;) {
        const rows = await this.#database.rows('all', LIST, this.#space, after)
        if (rows.length === 0) return sessions
        after = rows.at(-1).key
        for (const row of rows) sessions.push({ ...decode(row), id: row.plain_key.toString() })
      }
    })
  }

  length (callback) {
    this.#answer(callback, async () => {
      const [{ length }] = await this.#database.rows('length', LENGTH, this.#space)
      return Number(length)
    })
  }

  clear (callback) {
    this.#answer(callback, async () => { await this.#database.rows('clear', CLEAR, this.#space) })
  }

  async close () {
    this.#closed = true
    await this.#touches.flush()
  }

  // A callback runs outside of the promise, so what it throws is not taken for an error of the store.
  // An error without a callback is logged.
  #answer (callback, work) {
    const done = callback ?? (error => error && this.#errorLog(error))
    work().then(value => process.nextTick(done, null, value), error => process.nextTick(done, error))
  }

  async #end (key) {
    await this.#database.rows('destroy', DESTROY, key)
  }

  // Returns the key of an entry. The database never sees a session id.
  #key (sid) {
    if (typeof sid !== 'string' || !sid) throw new TypeError('sessionsql: a session id must be a text')
    const key = sha256(Buffer.concat([this.#spaceBytes, sha256(sid)])).subarray(0, 16)
    return (this.#near ? key.fill(0xff, 0, 2) : key).toString('hex')
  }

  // Returns the seconds that a session lives without use.
  #ttlOf ({ cookie }) {
    if (!cookie?.expires) return this.#ttl
    const ttl = (new Date(cookie.expires) - Date.now()) / 1000
    if (Number.isNaN(ttl)) throw new TypeError("sessionsql: the cookie's expires is no date")
    return Math.min(ttl, LONGEST)
  }

  // Deletes expired entries at intervals that vary, because processes that started together would collide.
  // The process may end without waiting for the timer.
  #reapEvery (milliseconds) {
    setTimeout(async () => {
      await this.#reap(milliseconds / 2).catch(this.#errorLog)
      if (!this.#closed) this.#reapEvery(milliseconds)
    }, milliseconds * (0.9 + Math.random() / 5)).unref()
  }

  async #reap (milliseconds) {
    for (const end = Date.now() + milliseconds; Date.now() < end && !this.#closed;) {
      const [row] = await this.#database.rows('reap', REAP)
      if (!row || row.lap_done || Number(row.reaped) === 0) return
    }
  }
}

function checkSeconds (name, value, most) {
  if (typeof value !== 'number' || !(value > 0 && value <= most)) {
    throw new TypeError(`sessionsql: ${name} must be a number of seconds above 0, at most ${most}`)
  }
}

function sha256 (bytes) {
  return createHash('sha256').update(bytes).digest()
}

// The cookie's expiry moves with each use. It is left out, so that an unchanged session keeps its bytes.
function encode (session) {
  const cookie = { ...(session.cookie?.toJSON?.() ?? session.cookie), expires: undefined }
  return Buffer.from(JSON.stringify({ ...session, cookie }))
}

// Returns the session with the expiry that its cookie has now. JSON's own errors would show a part of the
// value.
function decode ({ value, expires_in: expiresIn }) {
  try {
    const session = JSON.parse(value.toString())
    const { originalMaxAge } = session.cookie
    if (originalMaxAge != null) {
      session.cookie.expires = new Date(Date.now() + Math.min(originalMaxAge, expiresIn * 1000))
    }
    return session
  } catch {
    throw new Error('sessionsql: get: the stored value is no session of express-session')
  }
}

module.exports = { PostgresStore }
