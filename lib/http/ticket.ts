import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Admission, TicketOffice } from '../eras/ticket-office.ts'
import { errorCodes } from '../errors.ts'
import { type Awaitable, whenReady } from '../store/store.ts'
import { readAccept } from './accept.ts'
import type { Authenticate } from './auth.ts'

/** Whom a ticket let in, until the request is handled. */
const admissions = new WeakMap<FastifyRequest, Admission>()

export function admissionOf (request: FastifyRequest): Admission | undefined {
  return admissions.get(request)
}

/** Lets a GET in by the ticket in its query where it sends no header. Throws what `authenticate` does, and FST_MCP_TICKET_INVALID. */
export function withTickets (authenticate: Authenticate, office: TicketOffice): Authenticate {
  return request => {
    const ticket = inQuery(request, 'ticket')
    const { authorization, 'last-event-id': lastEventId } = request.headers
    if (ticket === undefined || authorization !== undefined || request.method !== 'GET') return authenticate(request)
    return whenReady(office.admit(ticket, lastEventId?.toString()), admission => {
      admissions.set(request, admission)
      return admission.ticket.principal
    })
  }
}

/** Answers the POST for a ticket: the ticket, the URL that takes it, and for how many milliseconds. `path`: of the stream, as the client sees it. */
export function issueTicket (office: TicketOffice, request: FastifyRequest, reply: FastifyReply, path: string): Awaitable<void> {
  if (!readAccept(request.headers.accept).json) throw new errorCodes.FST_MCP_NOT_ACCEPTABLE('application/json')
  return whenReady(office.issue(request.mcp?.principal ?? null), ticket => {
    reply.header('cache-control', 'no-store').send({ ticket, url: `${path}?ticket=${ticket}`, ttl: office.ttl })
  })
}

export function inQuery ({ query }: FastifyRequest, name: string): string | undefined {
  const value: unknown = Reflect.get(Object(query), name)
  return typeof value === 'string' ? value : undefined
}
