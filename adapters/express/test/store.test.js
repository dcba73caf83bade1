'use strict'

const assert = require('node:assert/strict')
const { readFileSync } = require('node:fs')
const { test } = require('node:test')
const { PostgresStore } = require('..')
const { counting, eventually, openDatabase, openStore, pool, sessionOf } = require('./support')

const near = (actual, expected, text) => {
  assert.ok(Math.abs(actual - expected) < 30, `${text ?? 'seconds'}: ${actual}, not about ${expected}`)
}

test('a session comes back as it was saved', async () => {
  const { get, set, row } = openStore()
  const data = { user: 'Žofie 😀', cart: [1, { deep: [null, 1.5] }], empty: '', big: 'x'.repeat(1e6) }
  await set('sid', sessionOf(data))
  const { cookie, ...saved } = await get('sid')
  assert.deepEqual(saved, data)
  assert.equal(cookie.originalMaxAge, 3_600_000)
  assert.ok(cookie.expires instanceof Date && cookie.httpOnly && cookie.path === '/')
  near((cookie.expires - Date.now()) / 1000, 3600)
  assert.equal(await get('another'), null)
  await set('sid', sessionOf({ other: 1 }))
  assert.deepEqual(Object.keys(await get('sid')), ['other', 'cookie'])
  assert.ok(await row('sid'))
})

test('the database has no session id', async () => {
  const { set, row } = openStore()
  await set('an id that nobody may see', sessionOf({}))
  const { value, plain_key: plainKey } = await row('an id that nobody may see')
  assert.equal(plainKey, null)
  assert.ok(!value.includes('nobody'))
})

test('a session lives as long as its cookie, else for the ttl, and a third more', async () => {
  const { set, row, get } = openStore({ ttl: 1000 })
  const fixed = sessionOf({})
  fixed.cookie.expires = new Date(Date.now() + 600_000)
  const text = { cookie: { expires: new Date(Date.now() + 300_000).toISOString() } }
  const forever = sessionOf({}, 3e14)
  for (const [sid, session, seconds] of [
    ['maxAge', sessionOf({}, 60_000), 80], ['none', sessionOf({}, null), 4000 / 3], ['expires', fixed, 800],
    ['text', text, 400], ['forever', forever, 10 * 365 * 86_400 * 4 / 3],
  ]) {
    await set(sid, session)
    near((await row(sid)).left, seconds, sid)
  }
  assert.equal((await get('none')).cookie.expires, undefined)
  await assert.rejects(set('nan', sessionOf({}, Infinity)), /expires is no date/)
})

test('a session whose cookie has expired ends', async () => {
  const { set, get, touch } = openStore()
  for (const end of [set, touch]) {
    const sid = end.name + Math.random()
    await set(sid, sessionOf({}))
    await end(sid, sessionOf({}, -1))
    assert.equal(await get(sid), null)
    await set(sid, sessionOf({}))
    assert.equal(await get(sid), null, 'it came back')
  }
})

test('an expired session is not found', async () => {
  const { set, get, all, length, expire } = openStore({ keepIDs: true })
  await set('sid', sessionOf({}))
  await expire('sid', -1)
  assert.equal(await get('sid'), null)
  assert.equal(await length(), 0)
  assert.deepEqual(await all(), [])
})

test('saving an unchanged session writes nothing until it is due', async () => {
  const { set, get, row, expire } = openStore()
  await set('sid', sessionOf({ user: 'ann' }))
  const { xmin } = await row('sid')
  await set('sid', await get('sid'))
  assert.equal((await row('sid')).xmin, xmin, 'unchanged')
  await set('sid', sessionOf({ user: 'bob' }))
  assert.notEqual((await row('sid')).xmin, xmin, 'changed')
  await expire('sid', 3500)
  await set('sid', sessionOf({ user: 'bob' }))
  near((await row('sid')).left, 4800, 'due')
})

test('touches of many sessions share a statement', async () => {
  const touches = counting(pool, /touch/)
  const { store, set, touch, row, expire } = openStore({ pool: touches.pool, touchInterval: 1e6 })
  const sids = Array.from({ length: 200 }, (_, i) => `sid ${i}`)
  await Promise.all(sids.map(sid => set(sid, sessionOf({ sid }))))
  await Promise.all(sids.map(sid => expire(sid, 1800)))
  for (let round = 0; round < 5; round++) {
    await Promise.all(sids.map(sid => touch(sid, sessionOf({ sid }))))
  }
  assert.equal(touches.count, 0)
  await store.close()
  assert.equal(touches.count, 1)
  for (const sid of sids) near((await row(sid)).left, 4800)
})

test('touches are sent once an interval', async () => {
  const { set, touch, row, expire } = openStore({ touchInterval: 0.05 })
  await set('sid', sessionOf({}))
  for (let round = 0; round < 2; round++) {
    await expire('sid', 1800)
    await touch('sid', sessionOf({}))
    await eventually('the session was extended', async () => (await row('sid')).left > 4000)
  }
})

test('a touch writes only what is due, never shortens and never revives', async () => {
  const { store, set, touch, destroy, get, row, expire } = openStore()
  for (const sid of ['fresh', 'long', 'expired', 'destroyed']) await set(sid, sessionOf({}))
  await expire('long', 90_000)
  await expire('expired', -1)
  await destroy('destroyed')
  const before = await row('fresh')
  for (const sid of ['fresh', 'long', 'expired', 'destroyed', 'unknown']) await touch(sid, sessionOf({}))
  await store.close()
  assert.equal((await row('fresh')).xmin, before.xmin)
  near((await row('long')).left, 90_000)
  for (const sid of ['expired', 'destroyed', 'unknown']) assert.equal(await get(sid), null, sid)
})

test('a session about to expire is extended by its get', async () => {
  const touches = counting(pool, /touch/)
  const { set, get, row, expire } = openStore({ pool: touches.pool })
  for (const [maxAge, left, extended] of [[3600, 50, 4000], [40, 30, 45]]) {
    touches.count = 0
    await set('sid', sessionOf({}, maxAge * 1000))
    await get('sid') // is fresh, so it waits for the touch of its request
    await expire('sid', left)
    await get('sid')
    await eventually('the session was extended', async () => (await row('sid')).left > extended)
    assert.equal(touches.count, 1)
  }
})

test('a save ends the touch that waits from before it', async () => {
  const { store, set, touch, row } = openStore()
  await set('sid', sessionOf({}, 7_200_000))
  await touch('sid', sessionOf({}, 7_200_000))
  await set('sid', sessionOf({ short: true }, 60_000))
  await store.close()
  near((await row('sid')).left, 80)
})

test('nothing brings a destroyed session back', async () => {
  for (const end of ['destroy', 'clear']) {
    const first = openStore()
    const second = openStore({ space: first.space })
    await first.set('sid', sessionOf({}))
    await first[end](...(end === 'destroy' ? ['sid'] : []))
    for (const { store, set, touch, get, length } of [first, second]) {
      await set('sid', sessionOf({ back: true }))
      await touch('sid', sessionOf({ back: true }))
      await store.close()
      assert.equal(await get('sid'), null, end)
      assert.equal(await length(), 0)
    }
    await first.set('another', sessionOf({}))
    assert.ok(await second.get('another'))
  }
})

test('all and length tell the live sessions of the space', async () => {
  const { set, all, length, destroy, clear } = openStore({ keepIDs: true })
  const other = openStore({ keepIDs: true })
  const numbers = Array.from({ length: 2001 }, (_, i) => i) // more than two pages
  for (const hundred of numbers.filter(number => number % 100 === 0)) {
    const some = numbers.slice(hundred, hundred + 100)
    await Promise.all(some.map(number => set(`sid ${number}`, sessionOf({ number }))))
  }
  for (const id of ['a', 'b', 'č']) await other.set(id, sessionOf({ user: id }))
  await destroy('sid 0')
  assert.equal(await length(), 2000)
  const listed = await all()
  assert.deepEqual(listed.map(({ number }) => number).sort((a, b) => a - b), numbers.slice(1))
  assert.ok(listed.every(each => each.id === `sid ${each.number}` && each.cookie.expires instanceof Date))
  assert.deepEqual((await other.all()).map(({ id, user }) => id + user).sort(), ['aa', 'bb', 'čč'])
  await clear()
  assert.equal(await length(), 0)
  assert.equal(await other.length(), 3)
  await assert.rejects(openStore().all(), /all needs the option keepIDs/)
})

test('stores that share a space work side by side', async () => {
  const stores = [1, 2, 3].map(() => openStore({ space: `shared ${process.pid}` }))
  const sids = Array.from({ length: 20 }, (_, i) => `sid ${i}`)
  const work = async ({ store, get, set, touch, destroy }, number) => {
    for (let round = 0; round < 40; round++) {
      await Promise.all(sids.map(async sid => {
        await set(sid, sessionOf({ writer: number, copy: number }))
        await touch(sid, sessionOf({}))
        const found = await get(sid)
        if (found) assert.equal(found.writer, found.copy)
        if (round === 39 && number === 0) await destroy(sid)
      }))
      await store.close()
    }
  }
  await Promise.all(stores.map(work))
  for (const sid of sids) assert.equal(await stores[1].get(sid), null)
})

test('expired entries are deleted', async () => {
  const { store, set, row, expire } = openStore({ reapInterval: 0.05 })
  for (const sid of ['live', 'dead']) await set(sid, sessionOf({}))
  await expire('dead', -3600)
  await eventually('the expired entry is gone', async () => !await row('dead'))
  assert.ok(await row('live'))
  await store.close()
})

test('errors show no session and no id', async () => {
  const { get, set, all, space } = openStore({ keepIDs: true })
  await set('secret id', sessionOf({}))
  for (const value of ['secret data', '"secret data"', '{"secret":"data"}', 'null']) {
    await pool.query('UPDATE sessionsql.cache_entry SET value = $2 WHERE key = sessionsql.cache_key($1, $3)',
      [space, Buffer.from(value), 'secret id'])
    for (const error of [await get('secret id').catch(e => e), await all().catch(e => e)]) {
      assert.match(error.message, /is no session/)
      assert.doesNotMatch(require('node:util').inspect(error, { depth: 9 }), /secret/)
    }
  }
})

test('an error without a callback is logged', async () => {
  const errors = []
  const away = { connect: async () => { throw new Error('away') } }
  const { store } = openStore({ pool: away, errorLog: error => errors.push(error) })
  store.destroy('sid')
  store.clear(null)
  await eventually('both are logged', () => errors.length === 2)
  const messages = errors.map(error => error.message)
  assert.deepEqual(messages.sort(), ['sessionsql: clear: away', 'sessionsql: destroy: away'])
})

test('a throw of a callback is not an error of the store', async () => {
  const { store } = openStore()
  const thrown = []
  const calls = []
  const listeners = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', error => thrown.push(error.message))
  store.get('sid', (...args) => {
    calls.push(args)
    throw new Error('of the callback')
  })
  await eventually('the callback has thrown', () => thrown.length > 0)
  process.removeAllListeners('uncaughtException')
  for (const listener of listeners) process.on('uncaughtException', listener)
  assert.deepEqual([calls, thrown], [[[null, null]], ['of the callback']])
})

test('wrong options and ids are refused', async () => {
  for (const [options, message] of [
    [undefined, /pool/], [{}, /pool/], [{ pool: 'postgres://' }, /pool/], [{ pool, space: '' }, /space/],
    [{ pool, space: 'é'.repeat(32) }, /space/], [{ pool, ttl: 0 }, /ttl/], [{ pool, ttl: '60' }, /ttl/],
    [{ pool, ttl: NaN }, /ttl/], [{ pool, touchInterval: -1 }, /touchInterval/],
    [{ pool, reapInterval: 1e9 }, /reapInterval/], [{ pool, timeout: Infinity }, /timeout/],
    [{ pool, tableName: 'session' }, /no option tableName/],
  ]) {
    assert.throws(() => new PostgresStore(options), { name: 'TypeError', message })
  }
  const { get, set } = openStore()
  for (const sid of ['', undefined, null, 7]) {
    await assert.rejects(get(sid), TypeError)
    await assert.rejects(set(sid, sessionOf({})), TypeError)
  }
})

test('the privileges of sessionsql_app are enough', async () => {
  const owner = await openDatabase('with_roles')
  for (const file of [process.env.BUNDLE, process.env.ROLES]) await owner.query(readFileSync(file, 'utf8'))
  await owner.query('CREATE ROLE app LOGIN IN ROLE sessionsql_app')
  const app = await openDatabase('with_roles', 'app')
  await assert.rejects(app.query('SELECT FROM sessionsql.cache_entry'), /permission denied/)
  const { store, get, set, touch, destroy, all, length, clear } = openStore({ pool: app, keepIDs: true })
  for (const sid of ['kept', 'destroyed']) await set(sid, sessionOf({}))
  await touch('kept', sessionOf({}))
  await destroy('destroyed')
  assert.ok(await get('kept'))
  assert.deepEqual((await all()).map(({ id }) => id), ['kept'])
  assert.equal(await length(), 1)
  await clear()
  await store.close()
  await app.query('SELECT * FROM sessionsql.cache_reap()')
})

test('a bundle that is missing or of another version is named', async () => {
  const bare = await openDatabase('bare')
  const { get } = openStore({ pool: bare })
  await assert.rejects(get('sid'), /get: the bundle is missing in this database/)
  await bare.query('CREATE SCHEMA sessionsql')
  await assert.rejects(get('sid'), /get: the bundle is missing in this database/)
  for (const [version, message] of [
    ['0.1.9', /bundle 0.1.9 .* needs 0.2.0 or later .*: upgrade the bundle/],
    ['1.0.0', /: upgrade sessionsql-express/],
  ]) {
    await bare.query(`CREATE OR REPLACE FUNCTION sessionsql.version() RETURNS text
      LANGUAGE sql AS $$ SELECT '${version}' $$`)
    await assert.rejects(get('sid'), message)
  }
  await bare.query('DROP SCHEMA sessionsql CASCADE')
  await bare.query(readFileSync(process.env.BUNDLE, 'utf8'))
  assert.equal(await get('sid'), null)
})
