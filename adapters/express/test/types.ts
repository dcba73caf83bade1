// test/types.test.js compiles this file and does not run it.
import session from 'express-session'
import { Pool } from 'pg'
import { ListedSession, PostgresStore, PostgresStoreOptions } from 'sessionsql-express'

declare module 'express-session' {
  interface SessionData { user: string }
}

const pool = new Pool()
const options: PostgresStoreOptions = {
  pool, space: 'sessions', ttl: 3600, touchInterval: 10, reapInterval: false, timeout: 2, keepIDs: true,
  errorLog: error => { const message: string = error.message; void message },
}
const store = new PostgresStore(options)
session({ store, secret: 'keyboard cat' })
store.get('sid', (error, found) => { const user: string | undefined = found?.user; void user; void error })
store.all((error, sessions) => {
  const ids: string[] = (sessions ?? []).map((each: ListedSession) => each.id)
  void ids
})
store.length((error, count = 0) => { void (count + 1) })
store.clear()
store.destroy('sid', () => {})
const closed: Promise<void> = store.close()
void closed

// @ts-expect-error: a pool is required
new PostgresStore({})
// @ts-expect-error: there is no such option
new PostgresStore({ pool, tableName: 'session' })
// @ts-expect-error: an interval is a number of seconds, or false
new PostgresStore({ pool, reapInterval: true })
