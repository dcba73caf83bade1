'use strict'

const assert = require('node:assert/strict')
const { spawn, spawnSync } = require('node:child_process')
const { once } = require('node:events')
const path = require('node:path')
const { after, test } = require('node:test')
const { Browser, eventually, freePort, pool, rowOf } = require('./support')

const root = path.join(__dirname, '..')

test('the types fit the program', () => {
  const flags = ['--noEmit', '--strict', '--esModuleInterop', '--module', 'node16', '--lib', 'es2022']
  const { status, stdout } = spawnSync(process.execPath,
    ['node_modules/typescript/bin/tsc', ...flags, 'test/types.ts'], { cwd: root, encoding: 'utf8' })
  assert.equal(status, 0, stdout)
})

test('the example logs in and out, and sends its touches when it ends', async () => {
  const port = await freePort()
  const example = spawn(process.execPath, ['example.js'], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, PORT: port, SESSION_SECRET: 'keyboard cat', PLAIN_HTTP: '1' },
  })
  after(() => example.kill('SIGKILL'))
  const browser = new Browser(`http://127.0.0.1:${port}`)
  await eventually('the example answers', () => browser.json('/').then(() => true, () => false))
  const post = (path, form) => browser.json(path, { method: 'POST', body: new URLSearchParams(form) })
  assert.deepEqual(await post('/login', { user: 'ann' }), { user: 'ann' })
  const first = browser.sid
  await post('/login', { user: 'bob' })
  assert.notEqual(browser.sid, first)
  assert.deepEqual(await browser.json('/'), { user: 'bob' })
  await post('/logout')
  assert.deepEqual(await browser.json('/'), { user: null })
  await post('/login', { user: 'ann' })
  await pool.query("UPDATE sessionsql.cache_entry SET expires_at = now() + interval '20 minutes'")
  assert.deepEqual(await browser.json('/'), { user: 'ann' })
  example.kill('SIGTERM')
  assert.deepEqual(await once(example, 'exit'), [0, null])
  assert.ok((await rowOf('express-session', browser.sid)).left > 1900)
})

test('a store that is not closed keeps no process alive', () => {
  const program = `
    const { Pool } = require('pg')
    const { PostgresStore } = require('.')
    const pool = new Pool({ connectionString: process.env.DATABASE_URL })
    const store = new PostgresStore({ pool, touchInterval: 1e6, reapInterval: 1e6 })
    store.touch('sid', { cookie: {} }, () => store.get('sid', () => pool.end()))`
  const { status, stderr } = spawnSync(process.execPath, ['-e', program],
    { cwd: root, encoding: 'utf8', timeout: 60_000 })
  assert.equal(status, 0, stderr)
})
