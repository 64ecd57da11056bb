import type { CallToolResult, ContentBlock } from './chunk.ts'

type Annotations = NonNullable<Extract<ContentBlock, { type: 'text' }>['annotations']>

interface Extras {
  annotations?: Annotations
  _meta?: Record<string, unknown>
}

interface LinkExtras extends Extras {
  title?: string
  description?: string
  mimeType?: string
  /** Bytes. */
  size?: number
}

/** Base64 text is taken as it is, bytes are encoded. */
function base64 (data: string | Uint8Array): string {
  return typeof data === 'string' ? data : Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64')
}

/** Makes the content blocks that tools yield and prompts hold (server/tools, "Tool Result"). Text may be yielded as a plain string too. */
export const content = Object.freeze({
  text: (text: string, extras?: Extras): ContentBlock => ({ type: 'text', text, ...extras }),
  /** `data`: bytes, or base64. */
  image: (data: string | Uint8Array, mimeType: string, extras?: Extras): ContentBlock => ({ type: 'image', data: base64(data), mimeType, ...extras }),
  /** `data`: bytes, or base64. Clients before 2025-03-26 get it as an embedded resource. */
  audio: (data: string | Uint8Array, mimeType: string, extras?: Extras): ContentBlock => ({ type: 'audio', data: base64(data), mimeType, ...extras }),
  /** An embedded resource: text as it is, bytes as a blob. */
  resource: (uri: string, data: string | Uint8Array, mimeType?: string, extras?: Extras): ContentBlock => ({
    type: 'resource',
    resource: { uri, ...(mimeType !== undefined && { mimeType }), ...(typeof data === 'string' ? { text: data } : { blob: base64(data) }) },
    ...extras
  }),
  /** A resource that the client may read. Clients before 2025-06-18 get it as text. */
  link: (uri: string, name: string, extras?: LinkExtras): ContentBlock => ({ type: 'resource_link', uri, name, ...extras }),
  /** A whole result with structured content, for tools without an `output` schema; clients that read only text get it as JSON. */
  structured: (value: Record<string, unknown>): CallToolResult => ({ content: [{ type: 'text', text: JSON.stringify(value) }], structuredContent: value })
})
