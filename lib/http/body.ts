import type { FastifyInstance } from 'fastify'
import { parseJson } from '../protocol/json.ts'

/** Bodies of our routes are parsed here and nowhere else: the host's own parsers may do anything. */
export function useBodyParser (scope: FastifyInstance, { body, depth }: { body: number, depth: number }): void {
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('application/json', { parseAs: 'string', bodyLimit: body }, (_request, text, done) => {
    // A DELETE may name a media type and send nothing.
    if (text === '') return done(null, undefined)
    try {
      done(null, parseJson(text.toString(), depth))
    } catch (error) {
      // parseJson throws errors of the catalogue alone.
      done(error as Error)
    }
  })
}
