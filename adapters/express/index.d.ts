import { SessionData, Store } from 'express-session'
import { Pool } from 'pg'

export interface PostgresStoreOptions {
  /** The application's pool of pg, which the store neither changes nor ends. */
  pool: Pick<Pool, 'connect'>

  /** Stores of one space share their sessions. 1 to 63 bytes. Defaults to `express-session`. */
  space?: string

  /**
   * Seconds that a session without `cookie.maxAge` lives without use. `cookie.maxAge` takes its place if
   * there is one. A session used at least that often never dies early; an unused one dies between that time
   * and four thirds of it. Defaults to 86400, a day.
   */
  ttl?: number

  /**
   * Seconds between two statements that send touches. A process that ends without `close` loses the touches
   * of that time. Defaults to 30.
   */
  touchInterval?: number

  /** Seconds between two rounds that delete expired entries, or false for none. Defaults to 60. */
  reapInterval?: number | false

  /** Seconds that a statement may take, and as many to get a connection. Defaults to 5. */
  timeout?: number

  /**
   * Whether the database keeps session ids in plain text, which `all` needs. Who reads the database sees them
   * then. Defaults to false: the database has their hashes only.
   */
  keepIDs?: boolean

  /**
   * Receives errors that no callback can receive. It gets no session id and no data. Defaults to
   * console.error.
   */
  errorLog?: (error: Error) => void
}

/** A session with its id, as `all` passes it. */
export type ListedSession = SessionData & { id: string }

/**
 * A store of express-session over the cache entries of sessionsql. An error of the database has the status
 * 503 and never means "no such session".
 */
export class PostgresStore extends Store {
  /** Makes no round trip. Throws a TypeError for an unknown or a wrong option. */
  constructor (options: PostgresStoreOptions)

  /** Passes null if there is no such session, or if it has expired. */
  get (sid: string, callback: (error: any, session?: SessionData | null) => void): void

  /** Saves a session. One that was destroyed up to an hour ago stays away, without an error. */
  set (sid: string, session: SessionData, callback?: (error?: any) => void): void

  /**
   * Extends the expiry of a session, together with others in a later statement. Only errors of its input come
   * back.
   */
  touch (sid: string, session: SessionData, callback?: (error?: any) => void): void

  /** Ends a session for good. The logout is durable when the callback runs. */
  destroy (sid: string, callback?: (error?: any) => void): void

  /**
   * Passes all live sessions that were saved with `keepIDs`, in no order. Without that option it is an error.
   */
  all (callback: (error: any, sessions?: ListedSession[] | null) => void): void

  /** Passes the number of live sessions. */
  length (callback: (error: any, length?: number) => void): void

  /** Ends all sessions of the space for good. */
  clear (callback?: (error?: any) => void): void

  /**
   * Sends the touches that wait, and stops the timers. Call it after the server has closed and before
   * `pool.end()`. Rejects if the database does not take the touches.
   */
  close (): Promise<void>
}
