import { createHash, randomBytes } from 'node:crypto'
import { atLimit, errorCodes } from '../errors.ts'
import type { Principal } from '../http/auth.ts'
import { ownerOf } from '../protocol/owner.ts'
import { type Awaitable, type OpenStore, type UsedTicket, whenReady } from '../store/store.ts'
import { readEventId } from './event-id.ts'

export interface TicketOfficeOptions {
  readonly store: OpenStore
  /** Milliseconds for which an unused ticket is good. */
  readonly ttl: number
  /** The most unused tickets of one principal. */
  readonly maxPerPrincipal: number
}

/** Whom a ticket let in. */
export interface Admission {
  readonly ticket: UsedTicket
  /** It was used before, and only comes back to the session that it opened. */
  readonly isUsed: boolean
}

const TICKET_BYTES = 24

/** Tickets for those who can send no header: each opens one stream, and afterwards comes back to that stream alone. */
export class TicketOffice {
  readonly #options: TicketOfficeOptions

  constructor (options: TicketOfficeOptions) {
    this.#options = options
  }

  get ttl (): number {
    return this.#options.ttl
  }

  /** 192 random bits. Throws FST_MCP_QUOTA_EXCEEDED and FST_MCP_TICKETS_FULL. */
  issue (principal: Principal | null): Awaitable<string> {
    const { store: { tickets }, maxPerPrincipal } = this.#options
    const ticket = randomBytes(TICKET_BYTES).toString('base64url')
    const record = { hash: hash(ticket), principal, owner: ownerOf(principal) }
    return whenReady(tickets.issue(record, maxPerPrincipal), issued => {
      if (issued === 'quota') throw atLimit('tickets.maxPerPrincipal', new errorCodes.FST_MCP_QUOTA_EXCEEDED(maxPerPrincipal, 'tickets'))
      if (issued === 'full') throw atLimit('tickets.max', new errorCodes.FST_MCP_TICKETS_FULL())
      return ticket
    })
  }

  /** Throws FST_MCP_TICKET_INVALID. */
  admit (text: string, lastEventId: string | undefined): Awaitable<Admission> {
    const { tickets, sessions } = this.#options.store
    const given = hash(text)
    return whenReady(tickets.take(given), fresh => {
      if (fresh !== undefined) return { ticket: { hash: given, principal: fresh.principal }, isUsed: false }
      const session = lastEventId === undefined ? undefined : readEventId(lastEventId)?.stream
      return whenReady(session === undefined ? undefined : sessions.get(session), record => {
        if (record?.ticket?.hash !== given) throw new errorCodes.FST_MCP_TICKET_INVALID()
        return { ticket: record.ticket, isUsed: true }
      })
    })
  }
}

function hash (ticket: string): string {
  return createHash('sha256').update(ticket).digest('base64url')
}
