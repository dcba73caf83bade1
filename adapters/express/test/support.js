'use strict'

const { once } = require('node:events')
const net = require('node:net')
const { setTimeout: sleep } = require('node:timers/promises')
const { after } = require('node:test')
const { promisify } = require('node:util')
const express = require('express')
const session = require('express-session')
const { Pool } = require('pg')
const { PostgresStore } = require('..')

// A pool of this process, for looking at the database from the side.
const pool = openPool()

function openPool (options) {
  const opened = new Pool({ connectionString: process.env.DATABASE_URL, ...options })
  opened.on('error', () => {}) // the server is restarted
  after(() => opened.end())
  return opened
}

// Returns a pool for another database, which it makes if there is none.
async function openDatabase (name, user = 'postgres') {
  const { rows } = await pool.query('SELECT FROM pg_database WHERE datname = $1', [name])
  if (rows.length === 0) await pool.query(`CREATE DATABASE ${name}`)
  const url = new URL(process.env.DATABASE_URL)
  url.pathname = name
  url.username = user
  return openPool({ connectionString: url.href })
}

let spaces = 0

// Opens a store in a space of its own, without a reaper, and with methods that return promises.
function openStore (options) {
  const settings = {
    pool,
    space: `${process.pid}.${++spaces}`,
    reapInterval: false,
    timeout: 30,
    errorLog: error => { throw error },
    ...options,
  }
  const store = new PostgresStore(settings)
  const methods = ['get', 'set', 'touch', 'destroy', 'all', 'length', 'clear']
  return {
    store,
    space: settings.space,
    ...Object.fromEntries(methods.map(name => [name, promisify(store[name]).bind(store)])),
    row: sid => rowOf(settings.space, sid),
    expire: (sid, seconds) => pool.query(
      `UPDATE sessionsql.cache_entry SET expires_at = clock_timestamp() + make_interval(secs => $3)
       WHERE key = sessionsql.cache_key($1, $2)`, [settings.space, sid, seconds]),
  }
}

// Returns the row of a session, or undefined. Its key comes from the bundle, so the package's must be equal.
async function rowOf (space, sid) {
  const { rows } = await pool.query(
    `SELECT e.xmin::text, e.value, e.plain_key, date_part('epoch', e.expires_at - clock_timestamp()) AS "left"
     FROM sessionsql.cache_entry AS e WHERE e.key = sessionsql.cache_key($1, $2)`, [space, sid])
  return rows[0]
}

// A session as express-session hands it to a store.
function sessionOf (data, maxAge = 3_600_000) {
  const request = { sessionID: 'unused' }
  const made = new session.Session(request, data)
  made.cookie = new session.Cookie({ maxAge })
  return made
}

// Counts the statements of a pool whose text matches.
function counting (inner, pattern) {
  const counter = { count: 0 }
  counter.pool = {
    async connect () {
      const client = await inner.connect()
      return {
        on: (...args) => client.on(...args),
        removeListener: (...args) => client.removeListener(...args),
        release: error => client.release(error),
        query: config => {
          if (pattern.test(config.text)) counter.count++
          return client.query(config)
        },
      }
    },
  }
  return counter
}

// Starts an application with sessions and returns a maker of browsers. Routes are added by the test.
async function openSite (store, routes, options) {
  const app = express()
  app.set('env', 'test') // Express prints no errors
  app.use(session({ store, secret: 'keyboard cat', resave: false, saveUninitialized: false, ...options }))
  app.get('/', (request, response) => response.json({ user: request.session.user ?? null }))
  app.get('/login', (request, response, next) => request.session.regenerate(error => {
    request.session.user = request.query.user
    error ? next(error) : response.json({ user: request.session.user })
  }))
  app.get('/logout', (request, response, next) => {
    request.session.destroy(error => error ? next(error) : response.json({ user: null }))
  })
  routes?.(app)
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  after(() => server.close())
  return () => new Browser(`http://127.0.0.1:${server.address().port}`)
}

// A browser with one cookie.
class Browser {
  constructor (origin) { this.origin = origin }

  async send (path, options) {
    const headers = { connection: 'close', ...(this.cookie && { cookie: this.cookie }) }
    const response = await fetch(this.origin + path, { headers, ...options })
    const set = response.headers.get('set-cookie')
    if (set) {
      this.cookie = set.split(';')[0]
      this.expires = new Date(/Expires=([^;]+)/.exec(set)?.[1])
    }
    return response
  }

  async json (path, options) {
    const response = await this.send(path, options)
    if (!response.ok) throw new Error(`${path}: ${response.status}`)
    return response.json()
  }

  // The session id that the cookie holds, without its signature.
  get sid () { return /=s%3A([^.]+)/.exec(this.cookie)[1] }
}

async function freePort () {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return String(port)
}

// Waits until a condition holds. No test measures how long that takes.
async function eventually (text, condition) {
  for (const end = Date.now() + 30_000; !await condition(); await sleep(5)) {
    if (Date.now() > end) throw new Error(`still not true: ${text}`)
  }
}

module.exports = {
  Browser, counting, eventually, freePort, openDatabase, openPool, openSite, openStore, pool, rowOf,
  sessionOf,
}
