'use strict'

// The oldest bundle with the functions that this package calls.
const NEEDED = '0.2.0'

// A Database runs statements of the bundle, each with a deadline.
class Database {
  #pool
  #milliseconds
  #checked

  constructor (pool, seconds) {
    this.#pool = pool
    this.#milliseconds = seconds * 1000
  }

  // Returns the rows of a statement. The verb names the operation in errors.
  async rows (verb, text, ...values) {
    try {
      await this.#check()
      return await this.#run(text, values)
    } catch (cause) {
      throw failure(verb, cause)
    }
  }

  // Checks the bundle once. A check that failed is repeated, because somebody may install the bundle.
  #check () {
    this.#checked ??= this.#checkVersion().catch(error => {
      this.#checked = undefined
      throw error
    })
    return this.#checked
  }

  async #checkVersion () {
    let rows
    try {
      rows = await this.#run('SELECT sessionsql.version() AS version', [])
    } catch (cause) {
      const missing = ['3F000', '42883'].includes(cause.code) // invalid_schema_name, undefined_function
      if (!missing) throw cause
      throw new Error('the bundle is missing in this database: install it (docs/install.md)')
    }
    const [{ version }] = rows
    const there = version.split('.').map(Number)
    const needed = NEEDED.split('.').map(Number)
    const differs = needed.findIndex((number, i) => there[i] !== number)
    if (there[0] === needed[0] && !(there[differs] < needed[differs])) return
    const old = there[0] > needed[0] ? 'sessionsql-express' : 'the bundle (docs/install.md)'
    throw new Error(`bundle ${version} is installed, this package needs ${NEEDED} or later of the same ` +
      `major version: upgrade ${old}`)
  }

  async #run (text, values) {
    const client = await this.#connect()
    let broken
    // A connection that breaks also emits an event, which would end the process if nobody listened.
    const ignore = () => {}
    client.on('error', ignore)
    try {
      const { rows } = await client.query({ text, values, query_timeout: this.#milliseconds })
      return rows
    } catch (error) {
      broken = error
      throw error
    } finally {
      client.release(broken)
      client.removeListener('error', ignore)
    }
  }

  // A statement must not run after its caller was told that it failed, because it could overwrite a newer
  // one. So a connection that comes too late goes back unused.
  #connect () {
    return new Promise((resolve, reject) => {
      let late = false
      const timer = setTimeout(() => {
        late = true
        reject(new Error(`the pool had no connection within ${this.#milliseconds} ms`))
      }, this.#milliseconds)
      this.#pool.connect().then(client => {
        clearTimeout(timer)
        if (late) client.release()
        else resolve(client)
      }, error => {
        clearTimeout(timer)
        reject(error)
      })
    })
  }
}

// An error has no code, because express-session takes ENOENT for "no such session", and a server that is away
// answers so at its Unix socket. Express responds with the status.
function failure (verb, cause) {
  const text = cause.message || cause.code // an AggregateError has no message
  return Object.assign(new Error(`sessionsql: ${verb}: ${text}`, { cause }), { status: 503 })
}

module.exports = Database
