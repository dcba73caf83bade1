// A login with Express and express-session, on PostgreSQL. It finds the database as psql does (PGHOST ...);
// PORT is 8080. Behind TLS leave PLAIN_HTTP out: the cookie is then Secure. SESSION_SECRET signs it.
//
//     npm install express express-session pg sessionsql-express
//     SESSION_SECRET=$(openssl rand -hex 32) PLAIN_HTTP=1 node example.js

const express = require('express')
const session = require('express-session')
const { Pool } = require('pg')
const { PostgresStore } = require('sessionsql-express')

const { SESSION_SECRET, PLAIN_HTTP, PORT = '8080' } = process.env

const pool = new Pool({ connectionTimeoutMillis: 2000 })
pool.on('error', error => console.error(error.message)) // an idle connection that broke
const store = new PostgresStore({ pool })

const app = express()
if (!PLAIN_HTTP) app.set('trust proxy', 1) // TLS ends at the proxy before this program
app.use(session({
  store,
  name: PLAIN_HTTP ? 'session' : '__Host-session',
  secret: SESSION_SECRET,
  resave: false,
  saveUninitialized: false,
  rolling: true,
  cookie: { maxAge: 30 * 60 * 1000, sameSite: 'lax', secure: !PLAIN_HTTP },
}))

app.get('/', (request, response) => response.json({ user: request.session.user ?? null }))

app.post('/login', express.urlencoded(), (request, response, next) => {
  const { user } = request.body
  if (!user) return response.sendStatus(401) // and check the password here
  request.session.regenerate(error => { // a new id, or who planted the old one is logged in too
    if (error) return next(error)
    request.session.user = user
    response.json({ user })
  })
})

app.post('/logout', (request, response, next) => {
  request.session.destroy(error => error ? next(error) : response.json({ user: null }))
})

const server = app.listen(PORT, '127.0.0.1')

process.once('SIGTERM', () => server.close(async () => {
  await store.close() // sends the touches that wait
  await pool.end()
}))
