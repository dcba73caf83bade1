'use strict'

const assert = require('node:assert/strict')
const { once, EventEmitter } = require('node:events')
const { test } = require('node:test')
const session = require('express-session')
const { counting, eventually, openSite, openStore, pool } = require('./support')
const PeerStore = require('connect-pg-simple')(session)

test('login, visits and logout', async () => {
  const { store, row } = openStore()
  const browser = (await openSite(store))()
  assert.deepEqual(await browser.json('/'), { user: null })
  assert.equal(browser.cookie, undefined, 'a visitor without data gets no session')
  await browser.json('/login?user=ann')
  const { sid } = browser
  assert.deepEqual(await browser.json('/'), { user: 'ann' })
  await browser.json('/login?user=bob')
  assert.notEqual(browser.sid, sid)
  assert.equal((await row(sid)).value, null, 'the old id is dead')
  assert.deepEqual(await browser.json('/'), { user: 'bob' })
  await browser.json('/logout')
  assert.deepEqual(await browser.json('/'), { user: null })
})

// A request under way has loaded the session before the logout, and ends after it.
async function logoutDuringRequest (store, options) {
  const events = new EventEmitter()
  const open = await openSite(store, app => app.get('/slow', async (request, response) => {
    if (request.query.write) request.session.seen = Math.random()
    events.emit('loaded')
    await once(events, 'go on')
    response.json({ user: request.session.user })
  }), options)
  const answers = []
  for (const path of ['/slow', '/slow?write=1']) {
    const browser = open()
    await browser.json('/login?user=ann')
    const loaded = once(events, 'loaded')
    const slow = browser.json(path)
    await loaded
    await browser.json('/logout')
    events.emit('go on')
    assert.deepEqual(await slow, { user: 'ann' })
    answers.push((await browser.json('/')).user)
  }
  return answers
}

// expressjs/session#632
test('a request under way brings no session back after a logout', async () => {
  const peer = new PeerStore({ pool, createTableIfMissing: true, pruneSessionInterval: false })
  assert.deepEqual(await logoutDuringRequest(peer), [null, 'ann'], 'a peer shows the race')
  assert.deepEqual(await logoutDuringRequest(peer, { resave: true }), ['ann', 'ann'], 'a peer shows the race')
  for (const options of [{}, { resave: true }, { rolling: true }, { unset: 'destroy' }]) {
    const { store } = openStore({ touchInterval: 0.01 })
    assert.deepEqual(await logoutDuringRequest(store, options), [null, null], JSON.stringify(options))
    await store.close()
  }
})

test('unset: destroy ends a session', async () => {
  const { store } = openStore()
  const open = await openSite(store, app => app.get('/unset', (request, response) => {
    delete request.session
    response.json(null)
  }), { unset: 'destroy' })
  const browser = open()
  await browser.json('/login?user=ann')
  await browser.json('/unset')
  assert.deepEqual(await browser.json('/'), { user: null })
})

test('rolling cookies move with each visit, and the session with them', async () => {
  const { store, row, expire } = openStore()
  const open = await openSite(store, app => app.get('/left', (request, response) => {
    response.json(request.session.cookie.maxAge)
  }), { rolling: true, cookie: { maxAge: 600_000 } })
  const browser = open()
  await browser.json('/login?user=ann')
  await expire(browser.sid, 300)
  browser.expires = undefined
  const left = await browser.json('/left')
  assert.ok(Math.abs(left - 300_000) < 30_000, `a handler sees ${left} ms`)
  const until = browser.expires - Date.now()
  assert.ok(Math.abs(until - 600_000) < 30_000, `the cookie lasts ${until} ms`)
  await store.close()
  assert.ok((await row(browser.sid)).left > 700)
})

test('a session used now and then stays, and expires without use', async () => {
  const { store, row, expire } = openStore({ touchInterval: 0.05 })
  const browser = (await openSite(store, undefined, { cookie: { maxAge: 600_000 } }))()
  await browser.json('/login?user=ann')
  const { sid } = browser
  for (let visit = 0; visit < 3; visit++) {
    await expire(sid, 10)
    assert.deepEqual(await browser.json('/'), { user: 'ann' })
    await eventually('the visit extended the session', async () => (await row(sid)).left > 700)
  }
  await expire(sid, -1)
  assert.deepEqual(await browser.json('/'), { user: null })
  await browser.json('/login?user=ann')
  assert.notEqual(browser.sid, sid)
})

test('visits cost one statement together, beside their gets', async () => {
  const writes = counting(pool, /touch|set/)
  const { store } = openStore({ pool: writes.pool, touchInterval: 10_000 })
  const open = await openSite(store)
  const browsers = Array.from({ length: 10 }, open)
  for (const browser of browsers) await browser.json('/login?user=ann')
  const before = writes.count
  for (let visit = 0; visit < 20; visit++) await Promise.all(browsers.map(browser => browser.json('/')))
  assert.equal(writes.count, before)
  await store.close()
  assert.equal(writes.count, before + 1)
})

test('concurrent saves of a session leave one of them whole', async () => {
  const { store, get } = openStore()
  const open = await openSite(store, app => app.get('/save/:n', (request, response) => {
    request.session.first = request.session.second = request.params.n
    response.json(null)
  }))
  const browser = open()
  await browser.json('/login?user=ann')
  await Promise.all(Array.from({ length: 50 }, (_, n) => browser.json(`/save/${n}`)))
  const found = await get(browser.sid)
  assert.equal(found.first, found.second)
  assert.equal(found.user, 'ann')
})

test('stores of two processes serve one site', async () => {
  const first = openStore()
  const second = openStore({ space: first.space })
  const here = (await openSite(first.store))()
  const there = (await openSite(second.store))()
  await here.json('/login?user=ann')
  there.cookie = here.cookie
  assert.deepEqual(await there.json('/'), { user: 'ann' })
  await there.json('/logout')
  assert.deepEqual(await here.json('/'), { user: null })
})

test('the package serves import as well as require', async () => {
  const { PostgresStore } = await import('../index.js')
  assert.equal(PostgresStore, require('..').PostgresStore)
  assert.ok(PostgresStore.prototype instanceof session.Store)
})
