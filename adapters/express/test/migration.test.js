'use strict'

const assert = require('node:assert/strict')
const { readFileSync } = require('node:fs')
const { test } = require('node:test')
const session = require('express-session')
const { openSite, openStore, pool, rowOf } = require('./support')
const PeerStore = require('connect-pg-simple')(session)

test('sessions of connect-pg-simple move without a logout', async () => {
  const peer = new PeerStore({ pool, createTableIfMissing: true, pruneSessionInterval: false })
  const before = await openSite(peer, undefined, { cookie: { maxAge: 600_000 } })
  const [ann, bob, gone] = [before(), before(), before()]
  await ann.json('/login?user=ann')
  await bob.json('/login?user=Žofie')
  await gone.json('/login?user=gone')
  await pool.query("UPDATE session SET expire = localtimestamp - interval '1 s' WHERE sid = $1", [gone.sid])

  const document = readFileSync(process.env.DOCUMENT, 'utf8')
  const [, statement] = /<!-- run by TestExpress -->\n```sql\n(.*?)```/s.exec(document)
  await pool.query(statement)

  const { store } = openStore({ space: 'express-session' })
  const after = (await openSite(store, undefined, { cookie: { maxAge: 600_000 } }))()
  for (const [browser, user] of [[ann, 'ann'], [bob, 'Žofie'], [gone, null]]) {
    after.cookie = browser.cookie
    assert.deepEqual(await after.json('/'), { user })
  }
  const { left } = await rowOf('express-session', ann.sid)
  assert.ok(left > 500 && left <= 601, `${left} s are left`) // that store rounds up to whole seconds
  await store.close()
})
