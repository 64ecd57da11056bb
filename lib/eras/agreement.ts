import { mismatch, type MirrorHeaders, need, readField, readMirror } from '../features/mirrors.ts'

const NAMED_BY = new Map([['tools/call', 'name'], ['prompts/get', 'name'], ['resources/read', 'uri']])

/**
 * Compares `Mcp-Method` and, where the method has one, `Mcp-Name` with the body. A name that is not a string is left to whoever reads the params.
 * Throws FST_MCP_HEADER_MISMATCH. Specification (2026-07-28): basic/transports/streamable-http, "Request Metadata".
 */
export function checkMirrors (headers: MirrorHeaders, method: string, params: Readonly<Record<string, unknown>>): void {
  // Never encoded: no method needs it.
  if (readField('Mcp-Method', need(headers, 'mcp-method', 'Mcp-Method')) !== method) throw mismatch('Mcp-Method', 'it must equal the method of the body')
  const key = NAMED_BY.get(method)
  if (key === undefined) return
  const target = Object.hasOwn(params, key) ? params[key] : undefined
  if (typeof target !== 'string') return
  if (readMirror('Mcp-Name', need(headers, 'mcp-name', 'Mcp-Name')) !== target) throw mismatch('Mcp-Name', `it must equal \`params.${key}\` of the body`)
}
