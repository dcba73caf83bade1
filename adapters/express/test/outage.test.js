'use strict'

const assert = require('node:assert/strict')
const { once } = require('node:events')
const net = require('node:net')
const { after, test } = require('node:test')
const { eventually, openPool, openSite, openStore, pool, sessionOf } = require('./support')

// The program that started the server stops and starts it.
const control = async verb => {
  const response = await fetch(`${process.env.CONTROL_URL}/${verb}`, { method: 'POST' })
  assert.equal(response.status, 200, await response.text())
}

test('an outage of the database logs nobody out', async () => {
  const errors = []
  const { store, row, expire } = openStore({ touchInterval: 0.2, errorLog: error => errors.push(error) })
  const browser = (await openSite(store))()
  await browser.json('/login?user=ann')
  const { cookie, sid } = browser
  await expire(sid, 3600)
  await browser.json('/')
  await control('stop')
  for (const path of ['/', '/logout', '/login?user=bob']) {
    const response = await browser.send(path)
    assert.equal(response.status, 503, path)
    assert.equal(response.headers.get('set-cookie'), null)
  }
  await eventually('the touch has failed', () => errors.length > 0)
  assert.match(errors[0].message, /^sessionsql: touch: ./)
  await control('start')
  await eventually('the touch was sent after all', async () => {
    const { left } = await row(sid).catch(() => ({}))
    return left > 100_000
  })
  await eventually('the site answers', async () => (await browser.send('/')).status === 200)
  assert.deepEqual(await browser.json('/'), { user: 'ann' })
  assert.equal(browser.cookie, cookie)
  await store.close()
})

// express-session takes the code ENOENT for "no such session", and pg answers with it.
test('a missing socket is no missing session', async () => {
  const away = openPool({ connectionString: undefined, host: '/nonexistent' })
  const { store, get } = openStore({ pool: away })
  await assert.rejects(away.query('SELECT 1'), { code: 'ENOENT' })
  await assert.rejects(get('sid'), error => !('code' in error) && error.status === 503)
  const { store: live } = openStore()
  const browser = (await openSite(live))()
  await browser.json('/login?user=ann')
  const other = (await openSite(store))()
  other.cookie = browser.cookie
  assert.equal((await other.send('/')).status, 503)
})

test('a server that hangs costs the timeout', async () => {
  const sockets = []
  const server = net.createServer(socket => sockets.push(socket.on('error', () => {})))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const { port } = server.address()
  const hung = openPool({ connectionString: undefined, host: '127.0.0.1', port, max: 2 })
  const { get } = openStore({ pool: hung, timeout: 0.1 })
  for (let i = 0; i < 4; i++) {
    await assert.rejects(get('sid'), /get: the pool had no connection within 100 ms/)
  }
  for (const socket of sockets) socket.destroy()
})

test('a statement that hangs costs the timeout, and its connection', async () => {
  const one = openPool({ max: 1 })
  const { set, space } = openStore({ pool: one })
  const { get } = openStore({ pool: one, space, timeout: 0.2 })
  await set('sid', sessionOf({}))
  await eventually('the bundle is checked', () => get('sid').catch(() => false))
  const blocker = await pool.connect()
  await blocker.query('BEGIN; LOCK TABLE sessionsql.cache_entry IN ACCESS EXCLUSIVE MODE')
  await assert.rejects(get('sid'), /get: Query read timeout/)
  await one.query({ text: 'SELECT 1', query_timeout: 30_000 }) // has another connection
  await blocker.query('ROLLBACK')
  blocker.release()
  await eventually('the store works again', () => get('sid').then(Boolean, () => false))
})

test('a connection that breaks under a statement is an error of that statement', async () => {
  const { hostname, port } = new URL(process.env.DATABASE_URL)
  const sockets = []
  const proxy = net.createServer(near => {
    const far = net.connect(port, hostname)
    for (const [from, to] of [[near, far], [far, near]]) {
      sockets.push(from.on('error', () => {}))
      from.pipe(to)
    }
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  after(() => proxy.close())
  const url = new URL(process.env.DATABASE_URL)
  url.port = proxy.address().port
  const proxied = openPool({ connectionString: url.href })
  const { get, set } = openStore({ pool: proxied })
  await set('sid', sessionOf({}))
  const blocker = await pool.connect()
  await blocker.query('BEGIN; LOCK TABLE sessionsql.cache_entry IN ACCESS EXCLUSIVE MODE')
  const blocked = assert.rejects(get('sid'), /get: /)
  await eventually('the get waits', async () => {
    const { rows } = await pool.query("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    return rows.length > 0
  })
  for (const socket of sockets) socket.destroy()
  await blocked
  await blocker.query('ROLLBACK')
  blocker.release()
  assert.ok(await get('sid'))
})

test('what has failed for want of a connection does not run later', async () => {
  const one = openPool({ max: 1 })
  const { set, get, space } = openStore({ pool: one })
  const hasty = openStore({ pool: one, space, timeout: 0.2 })
  await set('sid', sessionOf({ note: 'first' }))
  await eventually('the bundle is checked', () => hasty.get('sid').catch(() => false))
  const taken = await one.connect()
  await assert.rejects(hasty.set('sid', sessionOf({ note: 'failed' })), /no connection/)
  taken.release()
  assert.equal((await get('sid')).note, 'first')
  await one.query('SELECT 1')
  assert.equal((await get('sid')).note, 'first')
})

test('connections that were killed are replaced', async () => {
  const few = openPool({ max: 3 })
  const { get, set } = openStore({ pool: few })
  await set('sid', sessionOf({}))
  await Promise.all([1, 2, 3].map(() => get('sid')))
  await pool.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`)
  await eventually('the store works again', () => get('sid').then(Boolean, () => false))
})
