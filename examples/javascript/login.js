// A web login on PostgreSQL, in JavaScript with pg and Express. It finds the database as psql does (PGHOST
// ...); PORT is 8080, IDLE_TIMEOUT 1800 seconds. Behind TLS leave PLAIN_HTTP out: the cookie is then Secure.
//
//     npm --prefix examples/javascript ci
//     PLAIN_HTTP=1 node examples/javascript/login.js    # and open http://localhost:8080

import { fileURLToPath } from 'node:url'
import express from 'express'
import pg from 'pg'

const { PLAIN_HTTP, PORT = '8080', IDLE_TIMEOUT = '1800' } = process.env
const COOKIE = PLAIN_HTTP ? 'session' : '__Host-session' // with this prefix, from no other host
const ATTRIBUTES = { path: '/', httpOnly: true, sameSite: 'lax', secure: !PLAIN_HTTP }

// pool.query takes a connection for one statement, which commits by itself: a logout holds when it returns,
// and keepalive locks no row while a page is made.
const pool = new pg.Pool({ connectionTimeoutMillis: 2000 })
pool.on('error', error => console.error(error.message)) // an idle connection that broke

// A token is a parameter, never in the text, which servers log.
const rows = async (sql, ...parameters) => (await pool.query(sql, parameters)).rows
const value = async (...query) => Object.values((await rows(...query))[0])[0]

class Refused extends Error {
  constructor(status, message) { super(message); this.status = status }
}

// SameSite keeps the cookie out of other sites' forms. This refuses those of sibling hosts as well.
function refuseOtherSites(request, response, next) {
  const site = request.get('Sec-Fetch-Site')
  const origin = request.get('Origin')
  const own = site ? ['same-origin', 'none'].includes(site)
    : !origin || (URL.canParse(origin) && new URL(origin).host === request.get('Host'))
  if (request.method === 'POST' && !own) throw new Refused(403, 'a form of another site')
  next()
}

// Finds the session that the cookie opens, and keeps it alive.
async function useSession(request, response, next) {
  response.set('Cache-Control', 'no-store')
  request.token = request.get('Cookie')?.match(`(?:^|; )${COOKIE}=([^;]+)`)?.[1]
  request.session = (await rows('SELECT * FROM sessionsql.use_session($1)', request.token))[0]
  next()
}

async function begin(request, response, note, subject) {
  const label = (request.get('User-Agent') ?? '').slice(0, 100)
  const token = await value('SELECT sessionsql.new_session($1, $2, subject => $3, label => $4)',
    note, IDLE_TIMEOUT, subject, label)
  response.cookie(COOKIE, token, ATTRIBUTES)
}

const app = express()
const page = fileURLToPath(new URL('../index.html', import.meta.url))
app.get('/', (request, response) => response.sendFile(page))
app.use(refuseOtherSites, express.urlencoded({ limit: '1mb' }), useSession)

app.get('/session', ({ session }, response) => {
  const { subject = null, payload = '', version = 0, expires_in = 0 } = session ?? {}
  response.json({ subject, note: payload, version, expires_in })
})

// A visitor's first note begins a session. Later ones name the version that they change.
app.post('/note', async (request, response) => {
  const { note = '', version = '' } = request.body
  if (version === '0' && !request.session) {
    await begin(request, response, note, null)
    return response.json({ version: 1 })
  }
  const saved = await value('SELECT sessionsql.save_session($1, $2, $3)', request.token, note, version)
  if (saved === 0) throw new Refused(409, 'saved by somebody else in the meantime')
  if (saved < 0) throw new Refused(401, 'log in')
  response.json({ version: saved })
})

// Takes a visitor's note along, under a new token: whoever planted the old one is not logged in.
app.post('/login', async (request, response) => {
  const { user } = request.body
  if (!user) throw new Refused(401, 'log in') // and check the password here
  let token
  if (request.session?.subject) {
    await rows('SELECT sessionsql.end_session($1)', request.token)
  } else {
    token = await value('SELECT sessionsql.renew_session($1, $2)', request.token, user)
  }
  if (token) response.cookie(COOKIE, token, ATTRIBUTES)
  else await begin(request, response, '', user)
  response.json(null)
})

// After a change of rights, say. The old token is good for 10 s more, for requests under way.
app.post('/renew', async (request, response) => {
  const token = await value('SELECT sessionsql.renew_session($1)', request.token)
  if (token) response.cookie(COOKIE, token, ATTRIBUTES) // else another request was first, and sets it
  response.json(null)
})

app.post('/logout', async (request, response) => {
  await rows('SELECT sessionsql.end_session($1)', request.token)
  response.clearCookie(COOKIE, ATTRIBUTES).json(null)
})

app.post('/logout-everywhere', async ({ session }, response) => {
  if (!session?.subject) throw new Refused(401, 'log in')
  await rows('SELECT sessionsql.revoke_subject($1)', session.subject)
  response.clearCookie(COOKIE, ATTRIBUTES).json(null)
})

app.get('/sessions', async (request, response) => {
  const columns = 'id, label, created_at, is_current AS current'
  response.json(await rows(`SELECT ${columns} FROM sessionsql.list_sessions($1)`, request.token))
})

// Ends one other session of the same user. pg sends and returns an id, which has 64 bits, as a string.
app.post('/sessions/end', async (request, response) => {
  if (!await value('SELECT sessionsql.end_listed_session($1, $2)', request.token, request.body.id)) {
    throw new Refused(401, 'no such session of yours')
  }
  response.json(null)
})

app.use((error, request, response, next) => {
  response.type('text')
  if (error.status) return response.status(error.status).send(error.message)
  if (error.code?.startsWith('22')) return response.status(400).send('not a form of this page') // a NUL byte
  console.error(error.message) // This says nothing about the session: the cookie stays.
  response.status(503).send('try again')
})

app.listen(PORT, '127.0.0.1')
