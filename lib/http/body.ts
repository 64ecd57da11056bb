import type { FastifyInstance } from 'fastify'
import { type JsonLimits, parseJson } from '../protocol/json.ts'

/** Bodies of our routes are parsed here and nowhere else: the host's own parsers may do anything. */
export function useBodyParser (scope: FastifyInstance, { body, ...json }: JsonLimits & { readonly body: number }): void {
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('application/json', { parseAs: 'string', bodyLimit: body }, (_request, text, done) => {
    // A DELETE may name a media type and send nothing.
    if (text === '') return done(null, undefined)
    try {
      done(null, parseJson(text.toString(), json))
    } catch (error) {
      // parseJson throws errors of the catalogue alone.
      done(error as Error)
    }
  })
}
